package earlyexit

// Defaults is a configuration with every default written out, for those who
// want to vary one.
func Defaults() Config {
	c := Config{Ramps: 1}
	if err := c.complete(); err != nil {
		panic("BUG: the defaults of early exit: " + err.Error())
	}
	c.Ramps = 0
	return c
}
