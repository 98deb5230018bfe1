package templates

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestMetadataFilter sends requests to the metadata service as a machine, and as a pod on it.
func TestMetadataFilter(t *testing.T) {
	t.Parallel()
	out, err := guest.Run(t, filesOf(t, workerMachine()), "unshare", "--net", "timeout", "300", "sh", "-c", `
		set -eu
		mkdir -p /run/netns
		ip link set lo up
		for name in pod metadata; do
			ip netns add $name
			ip link add $name type veth peer name eth0 netns $name
			ip link set $name up
			ip -n $name link set eth0 up
		done
		ip address add 10.244.0.1/24 dev pod
		ip -n pod address add 10.244.0.2/24 dev eth0
		ip -n pod route add default via 10.244.0.1
		ip address add 169.254.0.1/16 dev metadata
		for address in 169.254.169.254 169.254.169.253; do ip -n metadata address add $address/16 dev eth0; done
		ip -n metadata route add default via 169.254.0.1
		echo 1 >/proc/sys/net/ipv4/ip_forward
		ask() {
			for address in 169.254.169.254 169.254.169.253; do
				if "$@" ping -c 1 -W 1 $address >/dev/null; then echo "$address answers"; else echo "$address does not answer"; fi
			done
		}
		echo before:
		ask ip netns exec pod
		command=$(sed -n s/^ExecStart=//p /etc/systemd/system/metadata-filter.service)
		$command
		$command
		echo after:
		ask ip netns exec pod
		echo machine:
		ask
	`)
	require.NoError(t, err, out)
	require.Equal(t, `before:
169.254.169.254 answers
169.254.169.253 answers
after:
169.254.169.254 does not answer
169.254.169.253 answers
machine:
169.254.169.254 answers
169.254.169.253 answers
`, out)
}
