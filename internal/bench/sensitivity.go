package bench

import (
	"fmt"
	"io"
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

// change is a way to change one parameter of the router's controller.
type change struct {
	name    string
	apply   func(*earlyexit.Config)
	refused error // why the controller does not take it; nil: it does
}

// changes are all there are.
func changes() []change {
	var all []change
	defaults := reflect.ValueOf(earlyexit.Defaults())
	for f := range defaults.NumField() {
		field := defaults.Type().Field(f)
		if slices.Contains(asked, field.Name) {
			continue
		}
		for _, by := range factors {
			c := change{name: fmt.Sprintf("%s ×%g", strings.ToLower(field.Name), by)}
			c.apply = func(c *earlyexit.Config) {
				v := reflect.ValueOf(c).Elem().Field(f)
				if v.Kind() == reflect.Int {
					v.SetInt(int64(math.Round(by * float64(defaults.Field(f).Int()))))
					return
				}
				v.SetFloat(by * defaults.Field(f).Float())
			}
			whole := earlyexit.Defaults()
			whole.Ramps = 1
			c.apply(&whole)
			_, c.refused = earlyexit.New(whole)
			all = append(all, c)
		}
	}
	return all
}

// sensitive puts behind each arm of the router's controller those with one
// parameter changed, and leaves out the others' arms.
func sensitive(chosen []arm) []arm {
	var all []arm
	for _, a := range chosen {
		if a.name != ours {
			continue
		}
		all = append(all, a)
		for _, c := range changes() {
			if c.refused != nil {
				continue
			}
			b := a
			b.change = c.name
			b.build = func(t *trial) (earlyexit.Controller, error) { return t.motley(a.mode, c.apply) }
			all = append(all, b)
		}
	}
	return all
}

// printRefused says which changes the controller does not take.
func printRefused(w io.Writer) {
	for _, c := range changes() {
		if c.refused != nil {
			fmt.Fprintf(w, "NOT RUN with %s: %v\n", c.name, c.refused)
		}
	}
}
