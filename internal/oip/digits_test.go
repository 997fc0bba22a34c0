package oip

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEightDigits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b [8]byte
	for round := range 1_000_000 {
		want := true
		for i := range b {
			b[i] = '0' + byte(rng.IntN(10))
		}
		if round%4 > 0 { // one to three bytes of any value
			for range round % 4 {
				b[rng.IntN(8)] = byte(rng.Uint32())
			}
		}
		for _, c := range b {
			want = want && c >= '0' && c <= '9'
		}
		if eightDigits(binary.LittleEndian.Uint64(b[:])) != want {
			t.Fatalf("% x: %v, want %v", b, !want, want)
		}
	}
}

// BenchmarkParseKilobyte reads requests of 64 numbers in 1 KB of JSON.
func BenchmarkParseKilobyte(b *testing.B) {
	for _, form := range []string{"%.8f", "%.17g", "%.2f"} {
		data := make([]string, 64)
		for i := range data {
			data[i] = fmt.Sprintf(form, float64(i*37%64)/63)
		}
		body := fmt.Sprintf(`{"id":"bench","inputs":[{"name":"x","shape":[1,64],"datatype":"FP32","data":[%s]}]}`, strings.Join(data, ","))
		if len(body) < 1024 {
			body += strings.Repeat(" ", 1024-len(body))
		}
		b.Run(form, func(b *testing.B) {
			var r Request
			text := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Parse(text, -1, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
