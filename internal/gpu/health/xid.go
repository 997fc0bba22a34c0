package health

import "fmt"

// class is what an XID asks for.
type class uint8

const (
	ignored  class = iota // recorded only
	restart               // the application hit by it must be restarted; the GPU is fine
	reset                 // the GPU must be reset
	reboot                // the machine must be restarted
	attend                // somebody must look: cables, software, links, support
	follows               // summarises or accompanies another XID
	unlisted              // not in the catalog, or unused on data-centre GPUs
)

// xid is one entry of NVIDIA's catalog.
type xid struct {
	code  int
	class class
	what  string
}

// xids is NVIDIA's list of XIDs with the immediate action that each asks for
// (https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, as of
// 2025, columns A100 to GB200), in order of code. What the catalog marks as
// unused is left out, and so is treated as unlisted.
var xids = [...]xid{
	{8, restart, "processing stopped"},
	{11, restart, "invalid push buffer"},
	{13, restart, "exception in the graphics engine"},
	{14, ignored, "injected from user space"},
	{25, restart, "illegal push buffer"},
	{31, restart, "memory page fault"},
	{32, restart, "corrupted push buffer"},
	{37, ignored, "firmware method not implemented"},
	{38, ignored, "firmware watchdog"},
	{39, restart, "copy engine 0"},
	{40, restart, "copy engine 1"},
	{41, restart, "copy engine 2"},
	{43, ignored, "application stopped by its own fault"},
	{44, ignored, "fault during context switch"},
	{45, follows, "clean-up after an earlier error"},
	{46, reset, "GPU stopped processing"},
	{48, reset, "double-bit ECC error"},
	{54, attend, "auxiliary power is not connected"},
	{60, restart, "video processor"},
	{62, reset, "micro-controller halted"},
	{63, ignored, "memory row remapped or page retired"},
	{64, reset, "memory row could not be remapped"},
	{66, ignored, "illegal access by the driver"},
	{67, ignored, "illegal access by the driver"},
	{68, restart, "video decoder 0"},
	{69, restart, "class error in the graphics engine"},
	{70, restart, "copy engine 3"},
	{71, restart, "copy engine 4"},
	{72, restart, "copy engine 5"},
	{74, reset, "NVLink error"},
	{75, restart, "copy engine 6"},
	{76, restart, "copy engine 7"},
	{77, restart, "copy engine 8"},
	{78, attend, "vGPU did not start"},
	{79, reboot, "GPU has fallen off the bus"},
	{80, restart, "corrupted data sent to the GPU"},
	{82, restart, "JPEG decoder 0"},
	{83, restart, "video decoder 1"},
	{84, restart, "video decoder 2"},
	{85, restart, "copy engine 9"},
	{86, restart, "optical flow"},
	{88, restart, "video decoder 3"},
	{89, restart, "video decoder 4"},
	{92, ignored, "many single-bit ECC errors"},
	{93, ignored, "wear limit of the board's flash"},
	{94, restart, "contained memory error"},
	{95, reset, "uncontained memory error"},
	{96, restart, "video decoder 5"},
	{97, restart, "video decoder 6"},
	{98, restart, "video decoder 7"},
	{99, restart, "JPEG decoder 1"},
	{100, restart, "JPEG decoder 2"},
	{101, restart, "JPEG decoder 3"},
	{102, restart, "JPEG decoder 4"},
	{103, restart, "JPEG decoder 5"},
	{104, restart, "JPEG decoder 6"},
	{105, restart, "JPEG decoder 7"},
	{106, ignored, "management bus test"},
	{107, ignored, "management bus test"},
	{108, ignored, "remote translation"},
	{109, reset, "context switch timed out"},
	{110, reset, "security fault"},
	{119, reset, "the GPU's system processor does not answer"},
	{120, reset, "error on the GPU's system processor"},
	{121, ignored, "corrected errors on the link to the CPU"},
	{126, restart, "copy engine 10"},
	{127, restart, "copy engine 11"},
	{128, restart, "copy engine 12"},
	{129, restart, "copy engine 13"},
	{130, restart, "copy engine 14"},
	{131, restart, "copy engine 15"},
	{132, restart, "copy engine 16"},
	{133, restart, "copy engine 17"},
	{134, restart, "copy engine 18"},
	{135, restart, "copy engine 19"},
	{136, reset, "link training failed"},
	{137, ignored, "illegal access over NVLink"},
	{139, restart, "optical flow 1"},
	{140, reset, "unrecovered ECC error"},
	{141, ignored, "fast path"},
	{142, attend, "video encoder 3"},
	{143, reset, "GPU could not be initialised"},
	{144, attend, "NVLink: SAW"},
	{145, attend, "NVLink: RLW"},
	{146, attend, "NVLink: TLW"},
	{147, attend, "NVLink: TREX"},
	{148, attend, "NVLink: control"},
	{149, attend, "NVLink: NETIR"},
	{150, attend, "NVLink: MSE"},
	{151, reboot, "key rotation"},
	{152, ignored, "DLA memory"},
	{153, ignored, "DLA timeout"},
	{154, follows, "recovery action changed"},
	{155, reset, "NVLink: defined by software"},
	{156, reset, "a resource was retired"},
	{157, ignored, "a resource could not be retired"},
	{158, reset, "fatal timeout"},
	{159, attend, "link to the CPU"},
	{160, ignored, "a channel was retired"},
	{161, ignored, "a channel could not be retired"},
	{171, follows, "uncorrectable DRAM error"},
	{172, follows, "uncorrectable SRAM error"},
}

// lookup finds a code's entry.
func lookup(code int) xid {
	lo, hi := 0, len(xids)
	for lo < hi {
		if mid := (lo + hi) / 2; xids[mid].code < code {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(xids) && xids[lo].code == code {
		return xids[lo]
	}
	return xid{code, unlisted, "not in NVIDIA's catalog"}
}

// verdict turns an XID into a state, an action and a sentence.
func (x xid) verdict() (State, Action, string) {
	text := fmt.Sprintf("XID %d (%s): ", x.code, x.what)
	switch x.class {
	case ignored:
		return OK, None, text + "NVIDIA asks for nothing"
	case follows:
		return OK, None, text + "it accompanies another"
	case restart:
		return Suspect, Restart, text + "NVIDIA asks to restart the application"
	case reset:
		return Unhealthy, Restart, text + "NVIDIA asks to reset the GPU"
	case reboot:
		return Unhealthy, Restart, text + "NVIDIA asks to restart the machine"
	case attend:
		return Suspect, Drain, text + "NVIDIA asks somebody to look at it"
	}
	return Suspect, None, text + "unknown, so watched"
}
