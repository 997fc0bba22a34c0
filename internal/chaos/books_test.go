package chaos

import "testing"

func TestBalance(t *testing.T) {
	before := Metrics{`motley_requests_total{code="200",model="m"}`: 10}
	for _, c := range []struct {
		name   string
		now    Metrics
		status map[int]int
		open   int
		ok     bool
	}{
		{"agrees", Metrics{`motley_requests_total{code="200",model="m"}`: 15, `motley_requests_total{code="429",model="m"}`: 2}, map[int]int{200: 5, 429: 2}, 0, true},
		{"one not counted", Metrics{`motley_requests_total{code="200",model="m"}`: 14}, map[int]int{200: 5}, 0, false},
		{"one counted twice", Metrics{`motley_requests_total{code="200",model="m"}`: 16}, map[int]int{200: 5}, 0, false},
		{"under another status", Metrics{`motley_requests_total{code="200",model="m"}`: 14, `motley_requests_total{code="502",model="m"}`: 1}, map[int]int{200: 5}, 0, false},
		{"a client left", Metrics{`motley_requests_total{code="200",model="m"}`: 15, `motley_requests_total{code="499",model="m"}`: 1}, map[int]int{200: 5}, 1, true},
		{"more than left", Metrics{`motley_requests_total{code="200",model="m"}`: 15, `motley_requests_total{code="499",model="m"}`: 2}, map[int]int{200: 5}, 1, false},
		{"something still runs", Metrics{`motley_requests_total{code="200",model="m"}`: 15, `motley_in_flight_requests{model="m"}`: 1}, map[int]int{200: 5}, 1, false},
	} {
		if err := balance(before, c.now, c.status, c.open); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
