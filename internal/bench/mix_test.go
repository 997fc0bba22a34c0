package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"motley/internal/pool"
)

func kairosSpace() *space {
	s := &space{most: kairosMost[:], least: []int{1, 0, 0, 0}, budget: kairosBudget}
	for _, p := range DefaultPrices() {
		s.types = append(s.types, pool.InstanceType{Name: p.InstanceType, USDPerHour: p.USDPerHour})
	}
	return s
}

// TestKairosSpace: KAIROS's artefact has 331 configurations within its budget.
func TestKairosSpace(t *testing.T) {
	s := kairosSpace()
	all := s.mixes(false)
	if len(all) != 331 {
		t.Errorf("%d mixes, want 331", len(all))
	}
	// The maximal ones are those of which no other one has as many of each type.
	var maximal [][]int
	for _, m := range all {
		if !slices.ContainsFunc(all, func(n []int) bool { return !slices.Equal(m, n) && dominates(n, m) }) {
			maximal = append(maximal, m)
		}
	}
	if got := s.mixes(true); fmt.Sprint(got) != fmt.Sprint(maximal) {
		t.Errorf("%d maximal mixes, want %d", len(got), len(maximal))
	}
	for i, want := range [][]int{{4, 0, 0, 0}, {0, 5, 0, 0}, {0, 0, 16, 0}, {0, 0, 0, 15}} {
		if got := s.homogeneous(i); !slices.Equal(got, want) {
			t.Errorf("homogeneous mix %d is %v, want %v", i, got, want)
		}
	}
}

func dominates(a, b []int) bool {
	for i := range a {
		if a[i] < b[i] {
			return false
		}
	}
	return true
}

func TestParseMix(t *testing.T) {
	s := kairosSpace()
	m, err := ParseMix(" g4dn.xlarge=4 , r5n.large = 2,t3.xlarge=0")
	if err != nil || fmt.Sprint(m) != "{[g4dn.xlarge r5n.large t3.xlarge] [4 2 0]}" {
		t.Errorf("%v, %v", m, err)
	}
	text := mixText(s.types, []int{4, 0, 2, 0})
	if text != "g4dn.xlarge=4,r5n.large=2" || s.short(text) != "(4,0,2,0)" {
		t.Errorf("%s is short for %s", s.short(text), text)
	}
	if usd := cost(s.types, []int{4, 0, 2, 0}); usd < 2.4019 || usd > 2.4021 {
		t.Errorf("it costs %v", usd)
	}
	for text, want := range map[string]string{
		"": "TYPE=COUNT", "a": "TYPE=COUNT", "=3": "TYPE=COUNT", "a=1,a=2": "named twice", "a=-1": "whole number", "a=x": "whole number",
		"a=1e3": "whole number", "a=1000000": "whole number", "a=0": "no worker",
	} {
		if _, err := ParseMix(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseMix(f *testing.F) {
	f.Add("g4dn.xlarge=4,r5n.large=2")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMix(text)
		if err != nil {
			return
		}
		if len(m.Types) != len(m.Counts) || sumOf(m.Counts) < 1 {
			t.Errorf("%q: %v", text, m)
		}
		var types []pool.InstanceType
		for _, n := range m.Types {
			types = append(types, pool.InstanceType{Name: n})
		}
		again, err := ParseMix(mixText(types, m.Counts))
		if err != nil || sumOf(again.Counts) != sumOf(m.Counts) {
			t.Errorf("%q: written and read again %v, %v", text, again, err)
		}
	})
}
