//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"

	onnx "github.com/yalue/onnxruntime_go"

	"motley/internal/engine"
	"motley/internal/oip"
)

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Load opens the model at path: an .onnx file, a directory in Triton's layout
// <model>/<version>/model.onnx (the highest version wins), or a directory with
// one .onnx file in it. Tensors that OIP cannot carry are refused by name. An
// error that wraps ErrUnavailable means that ONNX Runtime itself is missing.
func Load(path string, opt Options) (engine.Model, error) {
	m, err := load(path, opt)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", path, err)
	}
	return m, nil
}

func load(path string, opt Options) (_ *model, err error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	src, err := resolve(path)
	if err != nil {
		return nil, err
	}
	library, err := FindLibrary(opt.Library)
	if err != nil {
		return nil, err
	}
	if err := acquire(library); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	inputs, outputs, err := describe(src.file)
	if err != nil {
		return nil, err
	}
	m := &model{inputs: inputs, outputs: outputs}
	if batches(inputs) && batches(outputs) {
		m.maxBatch = opt.MaxBatch
		if m.maxBatch == 0 {
			m.maxBatch = DefaultMaxBatch
		}
	}
	// The binding cannot take over a 16-bit output whose size it would have to
	// learn from ONNX Runtime; see allocate.
	for _, out := range outputs {
		if is16bitFloat(out.oip) && !m.sized(out) {
			return nil, fmt.Errorf("output %q is %s with a variable dimension (shape %v): only the batch may vary in 16-bit float outputs; export it as FP32",
				out.name, out.label(), out.shape)
		}
	}
	provider, note, err := m.open(src.file, opt)
	if err != nil {
		return nil, err
	}
	name := opt.Name
	if name == "" {
		name = src.name
	}
	m.metadata = oip.ModelMetadata{
		Name: name, Versions: []string{src.version}, Platform: "onnx_onnxv1",
		Inputs: metadataOf(inputs), Outputs: metadataOf(outputs),
		Properties: map[string]string{"engine": "onnxruntime " + onnx.GetVersion(), "execution_provider": provider},
	}
	if note != "" {
		m.metadata.Properties["note"] = note
	}
	return m, nil
}

// describe reads the tensors of the model in file. Optimisation is off, since
// the session made for this is thrown away at once.
func describe(file string) (inputs, outputs []tensorInfo, err error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, nil, err
	}
	defer options.Destroy()
	if err := options.SetGraphOptimizationLevel(onnx.GraphOptimizationLevelDisableAll); err != nil {
		return nil, nil, err
	}
	in, out, err := onnx.GetInputOutputInfoWithOptions(file, options)
	if err != nil {
		return nil, nil, err
	}
	if len(in) == 0 || len(out) == 0 {
		return nil, nil, fmt.Errorf("the model has %d inputs and %d outputs: both are needed", len(in), len(out))
	}
	if inputs, err = tensorInfos("input", in); err != nil {
		return nil, nil, err
	}
	outputs, err = tensorInfos("output", out)
	return inputs, outputs, err
}

// open makes the session and says which execution provider it got.
func (m *model) open(file string, opt Options) (provider, note string, err error) {
	if opt.GPU == "auto" || opt.GPU == "cuda" {
		cause := m.newSession(file, opt, useCUDA(opt.Device))
		if cause == nil {
			return "cuda:" + strconv.Itoa(opt.Device), "", nil
		}
		if opt.GPU == "cuda" {
			return "", "", fmt.Errorf("no CUDA execution provider (the library of the onnxruntime-gpu package, CUDA and cuDNN are needed): %w", cause)
		}
		note = "fell back to the CPU: " + cause.Error()
	}
	if err := m.newSession(file, opt, nil); err != nil {
		return "", "", err
	}
	return "cpu", note, nil
}

// newSession opens file into m.session; with, where not nil, adds to the options.
func (m *model) newSession(file string, opt Options, with func(*onnx.SessionOptions) error) error {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if opt.Threads > 0 {
		if err := options.SetIntraOpNumThreads(opt.Threads); err != nil {
			return err
		}
	}
	// Threads that wait by spinning would take the cores from the router that
	// shares this process.
	if err := options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"); err != nil {
		return err
	}
	if err := options.SetCpuMemArena(!opt.DisableArena); err != nil {
		return err
	}
	if with != nil {
		if err := with(options); err != nil {
			return err
		}
	}
	m.session, err = onnx.NewDynamicAdvancedSession(file, names(m.inputs), names(m.outputs), options)
	return err
}

func useCUDA(device int) func(*onnx.SessionOptions) error {
	return func(options *onnx.SessionOptions) error {
		cuda, err := onnx.NewCUDAProviderOptions()
		if err != nil {
			return err
		}
		defer cuda.Destroy()
		if err := cuda.Update(map[string]string{"device_id": strconv.Itoa(device)}); err != nil {
			return err
		}
		return options.AppendExecutionProviderCUDA(cuda)
	}
}
