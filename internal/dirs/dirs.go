// Package dirs says where things lie on the machine that runs devcloud: what can be built again (Cache) apart from
// what is running now (State).
package dirs

import (
	"os"
	"path/filepath"
)

const name = "kubernetes-openstack"

// Cache is the folder of everything that was built or downloaded and can be again, each keyed by what it was built
// from: $XDG_CACHE_HOME/kubernetes-openstack, else ~/.cache/kubernetes-openstack.
func Cache(elem ...string) string { return under("XDG_CACHE_HOME", ".cache", elem) }

// State is the folder of what runs: devcloud's records, databases and volumes, and the development stack's state.
// $XDG_STATE_HOME/kubernetes-openstack, else ~/.local/state/kubernetes-openstack.
func State(elem ...string) string { return under("XDG_STATE_HOME", ".local/state", elem) }

// Mirror is the folder of the files that devcloud's machines download, each under the host and path that upstream
// releases it at.
func Mirror(elem ...string) string { return Cache(append([]string{"mirror"}, elem...)...) }

func under(env, fallback string, elem []string) string {
	root := os.Getenv(env)
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "/root" // no HOME: an init system or a cron job of root's
		}
		root = filepath.Join(home, fallback)
	}
	return filepath.Join(append([]string{root, name}, elem...)...)
}
