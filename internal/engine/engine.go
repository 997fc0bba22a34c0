// Package engine executes models inside this process. Two engines stand
// behind one interface: the built-in one (pure Go) and ONNX Runtime.
package engine

import (
	"context"

	"motley/internal/oip"
)

// Model is a loaded model. Run may be called from several goroutines at once.
type Model interface {
	// Metadata describes the model as OIP does. The value is shared: do not
	// change it.
	Metadata() *oip.ModelMetadata
	// MaxBatch is the largest first dimension that Run takes; 0 when the model
	// has no batch dimension.
	MaxBatch() int
	// Run executes one batch. in holds every input of the model, in any order,
	// batch-first. The outputs named in want (all of them where want is empty)
	// come back in the order asked, in memory of their own. An error that the
	// caller caused is an *oip.Error with its status.
	Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error)
	// Close frees what the model holds. Run must not be called afterwards.
	Close() error
}
