package router

import (
	"bufio"
	"net/http"
	"testing"

	"motley/internal/live"
)

// TestPartingWhileUnderWay: a request that is under way as the server begins to stop is answered
// with the end of its connection as well, whoever answers it.
func TestPartingWhileUnderWay(t *testing.T) {
	onEither(t, func(t *testing.T, change func(*Config)) {
		f := newFixture(t, change)
		entered, release := make(chan struct{}), make(chan struct{})
		f.loop.set(func(r *live.Request) error {
			entered <- struct{}{}
			<-release
			return answerWith(jsonAnswer, -1)(r)
		})
		requests := []string{post(validInfer), "POST /v2/models/adder//infer" + post(validInfer)[len("POST /v2/models/adder/infer"):], streamed(validInfer)}
		var readers []*bufio.Reader
		for _, q := range requests {
			c := f.dial()
			send(t, c, q)
			<-entered
			readers = append(readers, bufio.NewReader(c))
		}
		f.server.Unready()
		close(release)
		for i, r := range readers {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 200 || !res.Close {
				t.Errorf("%.40q: status %d, closes: %v", requests[i], res.StatusCode, res.Close)
			}
		}
	})
}
