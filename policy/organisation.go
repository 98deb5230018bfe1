package policy

// organisation has the rules of your organisation. Add them here, as docs/policy.md shows. Updates of this repository
// never change this file.
var organisation = []Rule{}
