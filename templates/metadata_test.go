package templates

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestMetadataFilter sends requests to the metadata service as a machine, and as a pod on it. Other programs delete and
// change the filter meanwhile.
func TestMetadataFilter(t *testing.T) {
	t.Parallel()
	files := filesOf(t, workerMachine())
	files["/usr/local/sbin/systemd-notify"] = "#!/bin/sh\ntouch /ready\n"
	files["/usr/local/sbin/sleep"] = "#!/bin/sh\nexec /usr/bin/sleep 0.2\n"
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", `
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
		$command >/log 2>&1 &
		pid=$!
		ready() { until [ -e /ready ]; do sleep 1; done; rm /ready; }
		ready
		echo after:
		ask ip netns exec pod
		echo machine:
		ask
		echo deleted:
		nft flush ruleset
		ready
		ask ip netns exec pod
		echo changed:
		nft flush chain inet metadata-filter forward
		ready
		ask ip netns exec pod
		echo restarted:
		kill $pid
		ask ip netns exec pod
		echo nft fails:
		nft flush ruleset
		echo broken >/etc/metadata-filter.nft
		$command 2>&1 | sed 's/syntax error.*/syntax error/'
		ls /ready 2>/dev/null || echo not ready
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
deleted:
169.254.169.254 does not answer
169.254.169.253 answers
changed:
169.254.169.254 does not answer
169.254.169.253 answers
restarted:
169.254.169.254 does not answer
169.254.169.253 answers
nft fails:
cannot write the filter: /etc/metadata-filter.nft:1:7-7: Error: syntax error
not ready
`, out)
}
