package roofline

// Class is a kind of hardware. What is known of one tells nothing of the other: on
// a GPU much of a batch's time is often the host's.
type Class uint8

// The classes.
const (
	GPU Class = iota
	CPU
)

// String names the class for people.
func (c Class) String() string {
	if c == CPU {
		return "CPU"
	}
	return "GPU"
}

// Device is what its maker says of a piece of hardware: peak rates, dense (without
// sparsity), of one GPU or of one core of a CPU with all cores busy.
type Device struct {
	Name  string
	Class Class
	// FP32, FP16 and INT8 are in 10¹² operations/s, a multiply-add being two. FP16 is
	// BF16's as well; the matrix units', where there are some. 0: no faster than the
	// next wider one.
	FP32, FP16, INT8 float64
	Bandwidth        float64 // of its memory, 10⁹ bytes/s; a core's even share
	Source           string  // whose figures these are
}

// The efficiencies by which peaks are multiplied: about what MLPerf's submissions
// reach of INT8 on GPUs (0.2 to 0.7), and KAIROS's Wide & Deep on cores (0.7). They
// matter only where no type of the class was measured.
var efficiency = [...]struct{ compute, memory float64 }{GPU: {0.4, 0.7}, CPU: {0.6, 0.6}}

const (
	sheet  = "NVIDIA, data sheet"
	xeonsp = "Intel: 2 AVX-512 FMA units, base frequency; memory by the socket's channels"
	zen    = "AMD: 2 FMA units of 256 bits, base frequency; memory by the socket's channels"
	neo    = "Arm and AWS: FMA units of the Neoverse core, frequency; memory by the socket's channels"
	mi     = "AMD, data sheet"
	sxm    = "NVIDIA, data sheet; SXM form"
)

// devices are in the order in which they are listed. Rates of a core are operations
// per cycle times GHz.
var devices = []Device{
	{"P4", GPU, 5.5, 0, 22, 192, sheet},
	{"P100", GPU, 9.3, 18.7, 0, 732, sheet},
	{"V100", GPU, 15.7, 125, 0, 900, sxm},
	{"T4", GPU, 8.1, 65, 130, 320, sheet},
	{"A2", GPU, 4.5, 18, 36, 200, sheet},
	{"A10", GPU, 31.2, 125, 250, 600, sheet},
	{"A10G", GPU, 35, 70, 140, 600, sheet},
	{"A30", GPU, 10.3, 165, 330, 933, sheet},
	{"A40", GPU, 37.4, 149.7, 299.3, 696, sheet},
	{"A100", GPU, 19.5, 312, 624, 1555, sxm + ", 40 GB"},
	{"A100-80GB", GPU, 19.5, 312, 624, 2039, sxm},
	{"A100-PCIe-80GB", GPU, 19.5, 312, 624, 1935, sheet},
	{"L4", GPU, 30.3, 121, 242, 300, sheet},
	{"L40", GPU, 90.5, 181, 362, 864, sheet},
	{"L40S", GPU, 91.6, 362, 733, 864, sheet},
	{"H100", GPU, 67, 989, 1979, 3350, sxm},
	{"H100-PCIe", GPU, 51, 756, 1513, 2000, sheet},
	{"H100-NVL", GPU, 60, 835, 1671, 3900, sheet},
	{"H200", GPU, 67, 989, 1979, 4800, sxm},
	{"MI300X", GPU, 163.4, 1307, 2615, 5300, mi},

	{"skylake", CPU, 64 * 2.5e-3, 0, 0, 128.0 / 24, xeonsp + " (Xeon Platinum 8175M: m5, r5, t3)"},
	{"skylake-3ghz", CPU, 64 * 3.0e-3, 0, 0, 128.0 / 18, xeonsp + " (Xeon Platinum 8124M: c5, c5n)"},
	{"cascadelake", CPU, 64 * 2.5e-3, 0, 256 * 2.5e-3, 140.8 / 24, xeonsp + ", VNNI (Xeon Platinum 8259CL: m5n, r5n, g4dn)"},
	{"icelake", CPU, 64 * 2.9e-3, 0, 256 * 2.9e-3, 204.8 / 32, xeonsp + ", VNNI (Xeon Platinum 8375C: c6i, m6i)"},
	{"sapphirerapids", CPU, 64 * 2.4e-3, 1024 * 2.4e-3, 2048 * 2.4e-3, 307.2 / 48, xeonsp + ", AMX (Xeon Platinum 8488C: c7i, m7i)"},
	{"rome", CPU, 32 * 2.8e-3, 0, 0, 204.8 / 48, zen + " (EPYC 7R32: c5a, g5)"},
	{"milan", CPU, 32 * 2.65e-3, 0, 0, 204.8 / 48, zen + " (EPYC 7R13: c6a, m6a)"},
	{"genoa", CPU, 32 * 2.6e-3, 64 * 2.6e-3, 128 * 2.6e-3, 460.8 / 96, zen + ", VNNI, BF16 (EPYC 9R14: c7a, m7a)"},
	{"graviton2", CPU, 16 * 2.5e-3, 32 * 2.5e-3, 64 * 2.5e-3, 204.8 / 64, neo + " N1 (c6g, m6g)"},
	{"graviton3", CPU, 32 * 2.6e-3, 64 * 2.6e-3, 128 * 2.6e-3, 307.2 / 64, neo + " V1 (c7g, m7g)"},
}

// Find returns the device of that name, nil where there is none.
func Find(name string) *Device {
	for i := range devices {
		if devices[i].Name == name {
			return &devices[i]
		}
	}
	return nil
}

// Names are the devices that Find knows.
func Names() []string {
	var names []string
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// Precision is the type of a model's numbers.
type Precision string

// The precisions. "" is FP32.
const (
	FP32 Precision = "fp32"
	FP16 Precision = "fp16" // and BF16
	INT8 Precision = "int8" // and FP8
)

// peak is in operations/s.
func (d *Device) peak(p Precision) float64 {
	rate := d.FP32
	if (p == FP16 || p == INT8) && d.FP16 > 0 {
		rate = d.FP16
	}
	if p == INT8 && d.INT8 > 0 {
		rate = d.INT8
	}
	return rate * 1e12
}
