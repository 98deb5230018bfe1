// Package dirs returns the folders of devcloud on its host. Cache holds files that can be built again, and
// State holds the state of running services.
package dirs

import (
	"os"
	"path/filepath"
)

const name = "kubernetes-openstack"

// Cache returns a path in the folder of all built and downloaded files, which can be created again. Each file
// has a key that is a hash of its inputs. The folder is $XDG_CACHE_HOME/kubernetes-openstack, or
// ~/.cache/kubernetes-openstack.
func Cache(elem ...string) string { return under("XDG_CACHE_HOME", ".cache", elem) }

// State returns a path in the folder of devcloud's records, databases and volumes, and of the development
// stack's state. The folder is $XDG_STATE_HOME/kubernetes-openstack, or ~/.local/state/kubernetes-openstack.
func State(elem ...string) string { return under("XDG_STATE_HOME", ".local/state", elem) }

// Mirror returns a path in the folder of the files that devcloud's machines download. The path of each file
// is the host and path of its upstream URL.
func Mirror(elem ...string) string { return Cache(append([]string{"mirror"}, elem...)...) }

func under(env, fallback string, elem []string) string {
	root := os.Getenv(env)
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "/root" // root's processes of an init system or cron may have no HOME
		}
		root = filepath.Join(home, fallback)
	}
	return filepath.Join(append([]string{root, name}, elem...)...)
}
