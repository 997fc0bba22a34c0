package oip

// Datatype is one of OIP's tensor element types.
type Datatype uint8

// The datatypes of OIP v2, and Triton's BF16.
const (
	Invalid Datatype = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	BF16
	FP32
	FP64
	Bytes
)

// Tensor is a decoded tensor: what an engine reads and writes.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64 // row-major dimensions; the first is the batch where the model batches
	// Data holds the elements in OIP's binary layout: little-endian,
	// row-major, no padding; BOOL one byte; BYTES a 4-byte length before each
	// element.
	Data []byte

	// shared: Data belongs to a request's body and must not be written to.
	shared bool
}

// TensorMetadata describes one input or output of a model; −1 in Shape is a
// variable dimension. Where the model batches, the first dimension is the
// batch and is −1.
type TensorMetadata struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"`
}

// ModelMetadata is OIP's model metadata response.
type ModelMetadata struct {
	Name       string            `json:"name"`
	Versions   []string          `json:"versions,omitempty"`
	Platform   string            `json:"platform"`
	Inputs     []TensorMetadata  `json:"inputs"`
	Outputs    []TensorMetadata  `json:"outputs"`
	Properties map[string]string `json:"properties,omitempty"`
}
