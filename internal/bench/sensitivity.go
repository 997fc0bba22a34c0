package bench

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"motley/internal/earlyexit"
)

// asked are the fields of earlyexit.Config that say what is wanted; the others
// are parameters.
var asked = []string{"Mode", "Ramps", "Target", "ClassTarget", "Costs", "Budget"}

// factors are what a parameter is multiplied by.
var factors = []float64{0.5, 2}

// changes are the ways to change one parameter of the router's controller.
func changes() (names []string, apply []func(*earlyexit.Config)) {
	defaults := reflect.ValueOf(earlyexit.Defaults())
	for f := range defaults.NumField() {
		field := defaults.Type().Field(f)
		if slices.Contains(asked, field.Name) {
			continue
		}
		for _, by := range factors {
			names = append(names, fmt.Sprintf("%s ×%g", strings.ToLower(field.Name), by))
			apply = append(apply, func(c *earlyexit.Config) {
				v := reflect.ValueOf(c).Elem().Field(f)
				if v.Kind() == reflect.Int {
					v.SetInt(int64(math.Round(by * float64(defaults.Field(f).Int()))))
					return
				}
				v.SetFloat(by * defaults.Field(f).Float())
			})
		}
	}
	return names, apply
}

// sensitive puts behind each arm of the router's controller those with one
// parameter changed, and leaves out the others' arms.
func sensitive(chosen []arm) []arm {
	names, apply := changes()
	var all []arm
	for _, a := range chosen {
		if a.name != ours {
			continue
		}
		all = append(all, a)
		for i, name := range names {
			b := a
			b.change = name
			b.build = func(t *trial) (earlyexit.Controller, error) { return t.motley(a.mode, apply[i]) }
			all = append(all, b)
		}
	}
	return all
}
