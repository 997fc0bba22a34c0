package router

import "bytes"

// endpoint is what a path asks for.
type endpoint uint8

const (
	noEndpoint endpoint = iota
	serverMetadata
	healthLive
	healthReady
	modelMetadata
	modelReady
	modelConfig
	modelStats
	modelInfer
	modelStream
	modelGenerate
	modelTrace
	allStats
	repositoryIndex
	repositoryControl
	sharedMemory
	serverTrace
	serverLogging
)

// methods says which methods an endpoint takes: the value of Allow.
var methods = [...]string{
	noEndpoint:        "",
	serverMetadata:    "GET, HEAD",
	healthLive:        "GET, HEAD",
	healthReady:       "GET, HEAD",
	modelMetadata:     "GET, HEAD",
	modelReady:        "GET, HEAD",
	modelConfig:       "GET, HEAD",
	modelStats:        "GET, HEAD",
	modelInfer:        "POST",
	modelStream:       "POST",
	modelGenerate:     "POST",
	modelTrace:        "GET, HEAD, POST",
	allStats:          "GET, HEAD",
	repositoryIndex:   "POST",
	repositoryControl: "POST",
	sharedMemory:      "GET, HEAD, POST",
	serverTrace:       "GET, HEAD, POST",
	serverLogging:     "GET, HEAD, POST",
}

// allows reports whether e takes a request of the given method.
func (e endpoint) allows(get, post bool) bool {
	switch methods[e] {
	case "POST":
		return post
	case "GET, HEAD":
		return get
	}
	return get || post
}

// target is a path taken apart. The slices point into the path.
type target struct {
	endpoint endpoint
	model    []byte
	version  []byte // nil when the path names none
}

// route takes a normalised path apart. What it accepts is Triton's set of
// paths, plus infer_stream.
func route(path []byte) target {
	switch string(path) {
	case "/v2", "/v2/":
		return target{endpoint: serverMetadata}
	case "/v2/health/live":
		return target{endpoint: healthLive}
	case "/v2/health/ready":
		return target{endpoint: healthReady}
	case "/v2/models/stats":
		return target{endpoint: allStats}
	case "/v2/trace/setting":
		return target{endpoint: serverTrace}
	case "/v2/logging":
		return target{endpoint: serverLogging}
	}
	if rest, ok := bytes.CutPrefix(path, []byte("/v2/models/")); ok {
		return routeModel(rest)
	}
	if rest, ok := bytes.CutPrefix(path, []byte("/v2/repository/")); ok {
		return routeRepository(rest)
	}
	for _, prefix := range [...]string{"/v2/systemsharedmemory/", "/v2/cudasharedmemory/"} {
		if rest, ok := bytes.CutPrefix(path, []byte(prefix)); ok {
			return routeSharedMemory(rest)
		}
	}
	return target{}
}

// routeModel routes {m}[/versions/{v}][/{verb}].
func routeModel(rest []byte) target {
	model, rest, more := bytes.Cut(rest, []byte("/"))
	if len(model) == 0 {
		return target{}
	}
	t := target{model: model}
	if r, ok := bytes.CutPrefix(rest, []byte("versions/")); ok && more {
		t.version, rest, more = bytes.Cut(r, []byte("/"))
		if !digits(t.version) {
			return target{}
		}
	}
	if !more {
		t.endpoint = modelMetadata
		return t
	}
	switch string(rest) {
	case "infer":
		t.endpoint = modelInfer
	case "ready":
		t.endpoint = modelReady
	case "config":
		t.endpoint = modelConfig
	case "stats":
		t.endpoint = modelStats
	case "infer_stream":
		t.endpoint = modelStream
	case "generate", "generate_stream":
		t.endpoint = modelGenerate
	case "trace/setting":
		t.endpoint = modelTrace
	default:
		return target{}
	}
	return t
}

// routeRepository routes [{repository}/]index and
// [{repository}/]models/{m}/(load|unload).
func routeRepository(rest []byte) target {
	for range 2 {
		if string(rest) == "index" {
			return target{endpoint: repositoryIndex}
		}
		if r, ok := bytes.CutPrefix(rest, []byte("models/")); ok {
			model, verb, _ := bytes.Cut(r, []byte("/"))
			if len(model) > 0 && (string(verb) == "load" || string(verb) == "unload") {
				return target{endpoint: repositoryControl, model: model}
			}
		}
		name, r, ok := bytes.Cut(rest, []byte("/"))
		if !ok || len(name) == 0 {
			break
		}
		rest = r
	}
	return target{}
}

// routeSharedMemory routes [region/{name}/](status|register|unregister).
func routeSharedMemory(rest []byte) target {
	if r, ok := bytes.CutPrefix(rest, []byte("region/")); ok {
		name, verb, _ := bytes.Cut(r, []byte("/"))
		if len(name) == 0 {
			return target{}
		}
		rest = verb
	}
	switch string(rest) {
	case "status", "register", "unregister":
		return target{endpoint: sharedMemory}
	}
	return target{}
}

// digits reports whether b is one or more decimal digits.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
