// Package bench is what the command bench does: experiments in the simulator,
// plans, and the suites that compare Motley with what was published. It reads
// files, runs simulations on all processors, and prints tables, JSON and plots.
// The same inputs give the same output, whatever ends first.
package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrUsage is the class of errors in what the command line asks for, in
// contrast to faults in files.
var ErrUsage = errors.New("wrong usage")

// usageError is a message of the class ErrUsage.
type usageError struct{ message string }

func (e *usageError) Error() string        { return e.message }
func (e *usageError) Is(target error) bool { return target == ErrUsage }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// Output is where a command writes.
type Output struct {
	Stdout   io.Writer
	JSON     bool      // one JSON array and nothing else, in place of tables
	Progress *Progress // nil: none
}

func openFile(name string) (io.ReadCloser, error) { return os.Open(name) }

// withFile opens a file and hands it to read, which puts its name into errors.
func withFile(name string, read func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err // it names the file
	}
	err = read(f)
	return errors.Join(err, f.Close())
}
