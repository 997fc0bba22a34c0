package earlyexit

import "math"

// width is the number of features of a ramp's model.
const width = 16

type vector [width]float64

// logistic is an online logistic regression that follows a drifting truth: an
// extended Kalman filter whose weights walk at random (Durbin and Koopman,
// "Time series analysis by state space methods", §10).
type logistic struct {
	w vector
	p [width]vector // covariance of w
}

// reset starts from weights w of the given variance.
func (m *logistic) reset(w vector, variance float64) {
	m.w, m.p = w, [width]vector{}
	for i := range m.p {
		m.p[i][i] = variance
	}
}

// logOdds is the model's log-odds of a disagreement at x.
func (m *logistic) logOdds(x *vector) float64 {
	sum := 0.0
	for i, w := range m.w {
		sum += w * x[i]
	}
	return max(-maxOdds, min(maxOdds, sum))
}

// maxOdds bounds log-odds, so that no risk is 0 or 1.
const maxOdds = 12

// learn takes in that x disagreed (y = 1) or not (0), as if it had happened
// weight times. Weights walk by the variance walk a step, and are never less
// certain than variance most.
func (m *logistic) learn(x *vector, y, weight, walk, most float64) {
	odds := m.logOdds(x)
	risk := sigmoid(odds)
	var px vector
	for i := range m.p {
		if m.p[i][i] < most {
			m.p[i][i] += walk
		}
		sum := 0.0
		for j, v := range m.p[i] {
			sum += v * x[j]
		}
		px[i] = sum
	}
	s := 0.0
	for i, v := range px {
		s += v * x[i]
	}
	h := weight * max(risk*(1-risk), 1e-4)
	gain := 1 / (1 + h*s)
	for i := range m.p {
		m.w[i] += px[i] * gain * weight * (y - risk)
		f := px[i] * h * gain
		for j := range px {
			m.p[i][j] -= f * px[j]
		}
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// loosen makes every weight less certain, by the given variance, but no less
// certain than most.
func (m *logistic) loosen(variance, most float64) {
	for i := range m.p {
		m.p[i][i] = max(m.p[i][i], min(most, m.p[i][i]+variance))
	}
}
