package earlyexit

// isotonic replaces values by the non-decreasing ones that are nearest to them
// by weighted squares (pool adjacent violators: Ayer et al., Annals of
// Mathematical Statistics 26, 1955). starts is scratch of the same length.
func isotonic(values, weights []float64, starts []int) {
	n := 0 // blocks; block b starts at starts[b] and keeps its mean and weight there
	for i := range values {
		starts[n] = i
		v, w := values[i], weights[i]
		for n > 0 && values[starts[n-1]] > v {
			p := starts[n-1]
			v = (v*w + values[p]*weights[p]) / (w + weights[p])
			w += weights[p]
			n--
		}
		values[starts[n]], weights[starts[n]] = v, w
		n++
	}
	end := len(values)
	for n--; n >= 0; n-- {
		for i := starts[n]; i < end; i++ {
			values[i] = values[starts[n]]
		}
		end = starts[n]
	}
}
