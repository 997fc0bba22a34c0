package config

import "time"

// setFineDefaults sets the limits that few need to change.
func (l *Limits) setFineDefaults() {
	l.MaxHeader = 8 << 10
	l.MaxHeaders = 100
	l.MaxJSONDepth = 100
	l.MaxTensors = 1024
	l.MaxRatio = 200
	l.MaxUploads = 1024
	l.MaxResponse = 1 << 30
	l.HeaderTimeout = 10 * time.Second
	l.WriteTimeout = 60 * time.Second
	l.MinBodyRate = 500
}

func (l *Limits) checkFine(f *faults) {
	size := func(field string, value, low, high Size) {
		if value < low || value > high {
			f.add("limits."+field, value, "must be from %v to %v", low, high)
		}
	}
	size("max_header", l.MaxHeader, 1<<10, 1<<20)
	within(f, "limits.max_headers", l.MaxHeaders, 10, 10_000)
	within(f, "limits.max_json_depth", l.MaxJSONDepth, 8, 10_000)
	within(f, "limits.max_tensors", l.MaxTensors, 1, 100_000)
	within(f, "limits.max_decompression_ratio", l.MaxRatio, 1, 1_000_000)
	if least := l.MaxBody + l.MaxBody/2; l.MaxBuffered != 0 && (l.MaxBuffered < least || l.MaxBuffered > 1<<50) {
		f.add("limits.max_buffered", l.MaxBuffered, "must be 0 (the larger of 1GiB and four times max_body), or from one and a half times max_body, %v, on", least)
	}
	within(f, "limits.max_uploads", l.MaxUploads, 1, 1_000_000)
	size("max_response", l.MaxResponse, 1<<10, 16<<30)
	duration(f, "limits.header_timeout", l.HeaderTimeout, time.Millisecond)
	duration(f, "limits.write_timeout", l.WriteTimeout, time.Millisecond)
	within(f, "limits.min_body_rate", l.MinBodyRate, 0, 1<<30)
}
