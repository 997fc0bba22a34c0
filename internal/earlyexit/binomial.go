package earlyexit

import "math"

// upperShare is Clopper and Pearson's one-sided upper bound, at the given
// confidence, of a share of which k in n were seen; n and k need not be whole
// ("The use of confidence or fiducial limits", Biometrika 26, 1934).
func upperShare(k, n, confidence float64) float64 {
	if n <= 0 || k >= n {
		return 1
	}
	low, high := max(0, k/n), 1.0
	for range 60 {
		p := (low + high) / 2
		if betaShare(p, k+1, n-k) < confidence {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// betaShare is the regularised incomplete beta function I_x(a, b), by Lentz's
// continued fraction (Abramowitz and Stegun, 26.5.8).
func betaShare(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - betaShare(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	c, d := 1.0, 1/guard(1-(a+b)*x/(a+1), tiny)
	f := d
	for m := 1.0; m <= 10_000; m++ {
		t := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / guard(1+t*d, tiny)
		c = guard(1+t/c, tiny)
		f *= d * c
		t = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / guard(1+t*d, tiny)
		c = guard(1+t/c, tiny)
		f *= d * c
		if math.Abs(d*c-1) < 1e-14 {
			break
		}
	}
	return front * f
}

func guard(v, tiny float64) float64 {
	if math.Abs(v) < tiny {
		return tiny
	}
	return v
}
