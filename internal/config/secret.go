package config

// Secret is text that is not told: no log line, page or error has it.
type Secret string

const redacted = "[redacted]"

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText is for encoders of JSON and for slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is for the encoder of YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }
