package config

import (
	"strings"
	"testing"
)

// TestLimits holds every limit against its bounds.
func TestLimits(t *testing.T) {
	for _, c := range []struct{ field, least, most, under, over string }{
		{"max_body", "1KiB", "16GiB", "1023", "17179869185"},
		{"max_connections", "1", "1000000", "0", "1000001"},
		{"max_header", "1KiB", "1MiB", "1023", "1048577"},
		{"max_headers", "10", "10000", "9", "10001"},
		{"max_json_depth", "8", "10000", "7", "10001"},
		{"max_tensors", "1", "10000", "0", "10001"},
		{"max_decompression_ratio", "1", "1000000", "0", "1000001"},
		{"max_buffered", "96MiB", "0", "100663295", "1125899906842625"},
		{"max_uploads", "1", "1000000", "0", "1000001"},
		{"max_response", "1KiB", "16GiB", "1023", "17179869185"},
		{"read_timeout", "1ms", "24h", "0s", "25h"},
		{"header_timeout", "1ms", "24h", "0s", "25h"},
		{"write_timeout", "1ms", "24h", "0s", "25h"},
		{"idle_timeout", "1ms", "24h", "0s", "25h"},
		{"min_body_rate", "0", "1073741824", "-1", "1073741825"},
	} {
		for _, value := range []string{c.least, c.most} {
			if _, err := Parse("limits", []byte(string(Default())+"limits: {"+c.field+": "+value+"}\n")); err != nil {
				t.Errorf("%s %s: %v", c.field, value, err)
			}
		}
		for _, value := range []string{c.under, c.over} {
			_, err := Parse("limits", []byte(string(Default())+"limits: {"+c.field+": "+value+"}\n"))
			if err == nil || !strings.Contains(err.Error(), "limits."+c.field) {
				t.Errorf("%s %s: %v", c.field, value, err)
			}
		}
	}
}
