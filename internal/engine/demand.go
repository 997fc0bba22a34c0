package engine

// Demand is what a whole run asks of hardware, ramps left out: exact counts from
// the graph.
type Demand struct {
	MultiplyAdds int64 // of an item
	Values       int64 // FP32 values that the steps read and write for an item, each step by itself
	Weights      int64 // FP32 parameters, read once for a batch
}

// DemandOf returns what a model of the built-in engine asks for; of others it knows
// nothing.
func DemandOf(m Model) (Demand, bool) {
	b, ok := m.(*builtin)
	if !ok {
		return Demand{}, false
	}
	var d Demand
	for _, stage := range b.program.stages {
		for _, s := range stage.trunk {
			d.MultiplyAdds += s.work()
			values, weights := moved(s)
			d.Values, d.Weights = d.Values+values, d.Weights+weights
		}
	}
	return d, true
}

// moved is what a step reads and writes for an item, and its parameters.
func moved(s step) (values, weights int64) {
	switch s := s.(type) {
	case *convStep:
		values = int64(s.from.elements() + s.to.elements())
		if s.residual >= 0 {
			values += int64(s.to.elements())
		}
		weights = int64(len(s.weight) + len(s.bias))
	case *gemmStep:
		values, weights = int64(s.k+s.m), int64(len(s.weight)+len(s.bias))
	case *poolStep:
		values = int64(s.from.elements() + s.to.elements())
	case *addStep:
		values = 3 * int64(s.e.elements())
	case *reluStep:
		values = 2 * int64(s.e.elements())
	case *flattenStep:
		values = 2 * int64(s.e.elements())
	case *softmaxStep:
		values = 2 * int64(s.columns)
	case *argmaxStep:
		values = int64(s.columns)
	}
	return values, weights
}
