package app

import "motley/internal/config"

// preparer takes in a new configuration while the router runs. It does all that
// can fail, and changes nothing; commit, which cannot fail, does that.
type preparer func(*config.Config) (commit func(), err error)
