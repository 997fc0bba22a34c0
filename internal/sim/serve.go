package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// Serve says how an execution goes. See Config.Serve.
type Serve = func(Execution) Outcome

// Setting is what a disturbance knows of the run that it is put into.
type Setting struct {
	Types   []pool.InstanceType
	Workers []pool.Worker
	Rng     *rand.Rand // a stream of the disturbance's own
	// Span is how long the run's requests take to come, in the mean: it lets a
	// disturbance hit the same part of a run at every rate.
	Span time.Duration
}

// Disturbance puts something between the truth and the execution: a wrapper
// around Serve, made anew for every run.
type Disturbance func(next Serve, s Setting) (Serve, error)

// FromTruth serves by truth[model][type of the worker], drawing from rng.
func FromTruth(truth [][]*Truth, workers []pool.Worker, rng *rand.Rand) Serve {
	return func(e Execution) Outcome {
		return Outcome{Took: truth[e.Model][workers[e.Worker].Type].Draw(e.Items, rng)}
	}
}

// stretch multiplies what an execution takes.
func stretch(next Serve, factor func(Execution) float64) Serve {
	return func(e Execution) Outcome {
		o := next(e)
		if f := factor(e); f != 1 {
			o.Took = scaled(o.Took, f)
		}
		return o
	}
}

// Rounded rounds every service time to a whole multiple of unit, halves up, as
// RIBBON's simulator does to milliseconds. Put it last.
func Rounded(unit time.Duration) Disturbance {
	return func(next Serve, _ Setting) (Serve, error) {
		if unit <= 0 {
			return nil, fmt.Errorf("cannot round service times: to %v: must be positive", unit)
		}
		return func(e Execution) Outcome {
			o := next(e)
			o.Took = o.Took.Round(unit)
			return o
		}, nil
	}
}

// NormalNoise multiplies every execution by 1 + sd·Z, at least 0.01: a noise of
// mean 1 as long as sd is well under a half.
func NormalNoise(sd float64) Disturbance {
	return noise(sd, func(rng *rand.Rand) float64 { return max(0.01, 1+sd*rng.NormFloat64()) })
}

// LognormalNoise multiplies every execution by a log-normal variable of mean 1
// and standard deviation sd: σ² = ln(1 + sd²), μ = −σ²/2.
func LognormalNoise(sd float64) Disturbance {
	sigma := math.Sqrt(math.Log1p(sd * sd))
	return noise(sd, func(rng *rand.Rand) float64 { return math.Exp(sigma*rng.NormFloat64() - sigma*sigma/2) })
}

func noise(sd float64, draw func(*rand.Rand) float64) Disturbance {
	return func(next Serve, s Setting) (Serve, error) {
		if !(sd >= 0 && sd <= 100) { // the negation catches NaN
			return nil, fmt.Errorf("cannot add noise: standard deviation %v: must be from 0 to 100", sd)
		}
		return stretch(next, func(Execution) float64 { return draw(s.Rng) }), nil
	}
}

// Slowdown makes one instance type, by its name, take factor times as long for
// executions that start from one instant up to another.
func Slowdown(instanceType string, from, to mono.Time, factor float64) Disturbance {
	return onType("slow down", instanceType, factor, func(e Execution) float64 {
		if e.At >= from && e.At < to {
			return factor
		}
		return 1
	})
}

// Drift makes one instance type, by its name, slower little by little: an
// execution that starts at t takes 1 + perHour·t times as long (t in hours),
// at least 0.01. perHour may be negative.
func Drift(instanceType string, perHour float64) Disturbance {
	return onType("let drift", instanceType, 1, func(e Execution) float64 {
		return max(0.01, 1+perHour*time.Duration(e.At).Hours())
	})
}

func onType(what, instanceType string, factor float64, law func(Execution) float64) Disturbance {
	return func(next Serve, s Setting) (Serve, error) {
		if !(factor > 0 && factor <= 1e6) { // the negation catches NaN
			return nil, fmt.Errorf("cannot %s %s: factor %v: must be positive, at most 1e6", what, instanceType, factor)
		}
		typ := pool.TypeID(-1)
		for i := range s.Types {
			if s.Types[i].Name == instanceType {
				typ = pool.TypeID(i)
			}
		}
		if typ < 0 {
			return nil, fmt.Errorf("cannot %s %s: there is no such instance type", what, instanceType)
		}
		return stretch(next, func(e Execution) float64 {
			if s.Workers[e.Worker].Type != typ {
				return 1
			}
			return law(e)
		}), nil
	}
}
