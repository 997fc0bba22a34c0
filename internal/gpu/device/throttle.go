package device

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Throttle is the set of reasons why clocks are not as high as they could be:
// NVML's bits.
type Throttle uint64

// The reasons (nvmlClocksEventReason…).
const (
	Idle            Throttle = 1 << 0  // nothing runs
	UserClocks      Throttle = 1 << 1  // somebody asked for lower clocks
	PowerCap        Throttle = 1 << 2  // software power cap: usual at full load
	HWSlowdown      Throttle = 1 << 3  // thermal or power brake, by hardware
	SyncBoost       Throttle = 1 << 4  // held to the clocks of its group
	SWThermal       Throttle = 1 << 5  // too warm, by software
	HWThermal       Throttle = 1 << 6  // too hot, by hardware
	HWPowerBrake    Throttle = 1 << 7  // the power supply asks for less
	DisplayClock    Throttle = 1 << 8  // bound to the display's
	BoardLimit      Throttle = 1 << 9  // the board's power
	ReliabilityCaps Throttle = 1 << 10 // voltage held down for reliability

	// Trouble are the reasons that a healthy, well-cooled GPU never gives.
	Trouble = HWSlowdown | SWThermal | HWThermal | HWPowerBrake
)

var throttleNames = [...]string{
	"idle", "user_clocks", "power_cap", "hw_slowdown", "sync_boost", "sw_thermal",
	"hw_thermal", "hw_power_brake", "display_clock", "board_limit", "reliability",
}

// Names lists the reasons, lowest bit first; bits without a name as bit_N.
func (t Throttle) Names() []string {
	var names []string
	for i := range 64 {
		switch {
		case t&(1<<i) == 0:
		case i < len(throttleNames):
			names = append(names, throttleNames[i])
		default:
			names = append(names, fmt.Sprintf("bit_%d", i))
		}
	}
	return names
}

// String lists the reasons.
func (t Throttle) String() string { return strings.Join(t.Names(), "+") }

// MarshalJSON writes the list of names.
func (t Throttle) MarshalJSON() ([]byte, error) { return json.Marshal(t.Names()) }

// UnmarshalJSON reads a list of names.
func (t *Throttle) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return fmt.Errorf("cannot read throttle reasons: %w", err)
	}
	*t = 0
	for _, n := range names {
		bit := slices.Index(throttleNames[:], n)
		if bit < 0 {
			if _, err := fmt.Sscanf(n, "bit_%d", &bit); err != nil || bit < 0 || bit > 63 {
				return fmt.Errorf("cannot read throttle reasons: no such reason as %q", n)
			}
		}
		*t |= 1 << bit
	}
	return nil
}
