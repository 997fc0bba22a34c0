package sim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Speeds are measured relative speeds of machines of one kind (1 = the median
// machine).
type Speeds struct {
	between []float64   // one per machine: how they differ
	within  [][]float64 // one series per machine: how it changes in time
}

// maxSpeed bounds a relative speed, and its inverse.
const maxSpeed = 1000

var speedColumns = [...]string{"test", "vm_sku", "lifespan", "vm_id", "rel_speed", "region"}

// ReadSpeeds reads the sampled relative speeds of Azure's machines (TUNA,
// EuroSys'25): CSV with the columns test, vm_sku, region, lifespan (short: one
// line per machine; long: a machine over time, in order), vm_id and rel_speed.
// It takes the lines of one test and one vm_sku. Errors begin with name, then
// say line and field.
func ReadSpeeds(name string, r io.Reader, test, sku string) (*Speeds, error) {
	s, err := readSpeeds(r, test, sku)
	if err != nil {
		return nil, fmt.Errorf("cannot read speeds: %s: %w", name, err)
	}
	return s, nil
}

func readSpeeds(r io.Reader, test, sku string) (*Speeds, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("no header line")
		}
		return nil, err
	}
	var at [len(speedColumns)]int
	for i, want := range speedColumns {
		at[i] = -1
		for j, have := range header {
			if have == want {
				at[i] = j
			}
		}
		if at[i] < 0 {
			return nil, fmt.Errorf("line 1: column %s is missing; there is %q", want, header)
		}
	}
	s := &Speeds{}
	series := map[string]int{} // by machine
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // it names the line
		}
		line, _ := in.FieldPos(0)
		if record[at[0]] != test || record[at[1]] != sku {
			continue
		}
		v, err := strconv.ParseFloat(record[at[4]], 64)
		if err != nil || !(v >= 1.0/maxSpeed && v <= maxSpeed) { // the negation catches NaN
			return nil, fmt.Errorf("line %d: rel_speed: %q: must be a number from %v to %v", line, record[at[4]], 1.0/maxSpeed, maxSpeed)
		}
		switch lifespan := record[at[2]]; lifespan {
		case "short":
			s.between = append(s.between, v)
		case "long":
			machine := record[at[5]] + "/" + record[at[3]]
			i, known := series[machine]
			if !known {
				i = len(s.within)
				series[machine] = i
				s.within = append(s.within, nil)
			}
			s.within[i] = append(s.within[i], v)
		default:
			return nil, fmt.Errorf("line %d: lifespan: %q: must be short or long", line, lifespan)
		}
	}
	if len(s.between)+len(s.within) == 0 {
		return nil, fmt.Errorf("no line has test %s and vm_sku %s", test, sku)
	}
	return s, nil
}

// MeasuredSpeeds gives every worker the speed of a machine drawn from the
// short-lived ones, and changes in time of one drawn from the long-lived: from
// a random place in its series on, one measurement for every such piece of
// time, over and over. An execution takes its time divided by both.
func MeasuredSpeeds(s *Speeds, every time.Duration) Disturbance {
	return func(next Serve, set Setting) (Serve, error) {
		if every <= 0 {
			return nil, fmt.Errorf("cannot use measured speeds: one every %v: must be positive", every)
		}
		type machine struct {
			base   float64
			series []float64
			from   int
		}
		machines := make([]machine, len(set.Workers))
		for i := range machines {
			m := machine{base: 1}
			if n := len(s.between); n > 0 {
				m.base = s.between[set.Rng.IntN(n)]
			}
			if n := len(s.within); n > 0 {
				m.series = s.within[set.Rng.IntN(n)]
				m.from = set.Rng.IntN(len(m.series))
			}
			machines[i] = m
		}
		return stretch(next, func(e Execution) float64 {
			m := &machines[e.Worker]
			speed := m.base
			if n := len(m.series); n > 0 {
				speed *= m.series[(m.from+int(time.Duration(e.At)/every))%n]
			}
			return 1 / speed
		}), nil
	}
}
