//go:build cgo && linux

package nvml

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// missing is what a call would return whose function the driver's library does
// not have. Calling it would end the process.
const missing = nvml.ERROR_FUNCTION_NOT_FOUND

// explain says what a return means. The library's own texts are not asked: an
// old one may lack even that function.
func explain(r nvml.Return) string {
	switch r {
	case nvml.SUCCESS:
		return "fine"
	case nvml.ERROR_UNINITIALIZED:
		return "the driver's library was not initialised"
	case nvml.ERROR_NOT_SUPPORTED:
		return "not supported"
	case nvml.ERROR_NO_PERMISSION:
		return "no permission to ask the driver"
	case nvml.ERROR_NOT_FOUND:
		return "not found"
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return "the NVIDIA driver is not loaded"
	case nvml.ERROR_TIMEOUT:
		return "timed out"
	case nvml.ERROR_IRQ_ISSUE:
		return "the kernel found an interrupt issue with a GPU"
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return "libnvidia-ml.so.1 cannot be loaded: no NVIDIA driver is installed here, or it is not visible from here (container?)"
	case nvml.ERROR_FUNCTION_NOT_FOUND:
		return "the driver's library does not have this function: it is too old"
	case nvml.ERROR_GPU_IS_LOST:
		return "the GPU has fallen off the bus or is otherwise inaccessible"
	case nvml.ERROR_RESET_REQUIRED:
		return "the GPU needs a reset before it can be used"
	case nvml.ERROR_OPERATING_SYSTEM:
		return "the operating system keeps the GPU from being used"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return "the library and the kernel's driver are of different versions (updated without a restart?)"
	case nvml.ERROR_IN_USE:
		return "in use"
	case nvml.ERROR_UNKNOWN:
		return "an internal error of the driver"
	}
	return fmt.Sprintf("NVML error %d", int(r))
}

// access classifies a return that is about a device as a whole.
func access(r nvml.Return) device.Access {
	switch r {
	case nvml.SUCCESS:
		return device.Reachable
	case nvml.ERROR_GPU_IS_LOST:
		return device.Lost
	case nvml.ERROR_RESET_REQUIRED:
		return device.ResetRequired
	case nvml.ERROR_NO_PERMISSION:
		return device.Denied
	}
	return device.Failed
}
