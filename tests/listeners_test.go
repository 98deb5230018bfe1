package tests

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubernetes-openstack/cluster"
)

// places are the columns of the table in docs/listeners.md from which packets come.
var places = []string{"pod", "tenant", "worker", "router", "client", "other"}

// Answers of a port to a scan.
const (
	accepted = "accepts"
	refused  = "refuses"
	silent   = "does not answer"
	// notScanned is a port of a BGP peer.
	notScanned = "is not scanned"
)

// listener is one row of the table in docs/listeners.md, for one role and protocol.
type listener struct {
	role              cluster.Role
	protocol, address string
	port              string // a number, random, or other
	program           string
	from              map[string]string // yes, no or peer, by place
}

// listeners returns the rows of the table in docs/listeners.md that a plan has.
func listeners(t testing.TB, plan cluster.Plan) (rows []listener) {
	t.Helper()
	text, err := os.ReadFile("../docs/listeners.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5+len(places) || strings.HasPrefix(cells[0], "---") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "machines" {
			require.Equal(t, places, cells[5:])
			continue
		}
		from := map[string]string{}
		for i, place := range places {
			require.Contains(t, []string{"yes", "no", "peer"}, cells[5+i], line)
			from[place] = cells[5+i]
		}
		program, remark, _ := strings.Cut(cells[4], " ")
		if strings.Contains(remark, "with `monitoring.enabled`") && !plan.Monitoring.Enabled {
			continue
		}
		for role := range strings.SplitSeq(cells[0], ", ") {
			require.Contains(t, cluster.Roles, cluster.Role(role), line)
			for protocol := range strings.SplitSeq(cells[1], ", ") {
				rows = append(rows, listener{cluster.Role(role), protocol, cells[2], cells[3], program, from})
			}
		}
	}
	require.NotEmpty(t, rows)
	return rows
}

// socket is a socket of a machine, as a row names it: its address is all, own or an address.
type socket struct{ protocol, address, port, program string }

func (s socket) String() string {
	return strings.Join([]string{s.protocol, s.address, s.port, s.program}, " ")
}

// sockets reads the output of `ss -Hltunp` on a machine with this address.
func sockets(output string, own netip.Addr) (found []socket, err error) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("unexpected line of ss: %q", line)
		}
		colon := strings.LastIndex(fields[4], ":")
		address, port := fields[4][:max(colon, 0)], fields[4][colon+1:]
		address, _, _ = strings.Cut(address, "%") // the interface
		switch address {
		case "*", "0.0.0.0", "[::]":
			address = "all"
		case own.String():
			address = "own"
		}
		program := "unknown"
		if _, rest, ok := strings.Cut(line, `users:(("`); ok {
			program, _, _ = strings.Cut(rest, `"`)
		}
		found = append(found, socket{fields[0], address, port, program})
	}
	return found, nil
}

// nameLength is the length to which the kernel cuts the names of processes.
const nameLength = 15

// compareSockets returns each socket of the machines of a role that is not in the table, and each row of the table
// without a socket on any of them. Some controllers run on only one machine of a role.
func compareSockets(rows []listener, role cluster.Role, found map[string][]socket) (wrong []string) {
	var wanted []socket
	for _, row := range rows {
		if row.role == role && row.port != "other" {
			wanted = append(wanted, socket{row.protocol, row.address, row.port, row.program[:min(len(row.program), nameLength)]})
		}
	}
	seen := map[socket]bool{}
	for _, machine := range slices.Sorted(maps.Keys(found)) {
		for _, s := range found[machine] {
			random := s
			random.port = "random"
			switch {
			case slices.Contains(wanted, s):
				seen[s] = true
			case slices.Contains(wanted, random):
				seen[random] = true
			default:
				wrong = append(wrong, fmt.Sprintf("%s: %s: not in docs/listeners.md", machine, s))
			}
		}
	}
	for _, s := range wanted {
		if !seen[s] {
			wrong = append(wrong, fmt.Sprintf("%s: %s: on no machine", role, s))
		}
	}
	return wrong
}

// answer returns how a port of a machine must answer packets from a place.
func answer(rows []listener, role cluster.Role, protocol, port, place string) string {
	result := silent
	for _, row := range rows {
		if row.role != role || row.protocol != protocol || row.from[place] == "no" {
			continue
		}
		switch row.port {
		case port:
			if row.from[place] == "peer" {
				return notScanned
			}
			return accepted
		case "other":
			result = refused
		}
	}
	return result
}

// compareAnswers returns the ports of a machine that answered differently from the table.
func compareAnswers(rows []listener, machine cluster.Machine, place, protocol string, answers map[int]string) (
	wrong []string) {
	for _, port := range slices.Sorted(maps.Keys(answers)) {
		want := answer(rows, machine.Role, protocol, strconv.Itoa(port), place)
		if protocol == "udp" && want == accepted {
			want = silent // a program answers only packets that it understands
		}
		if got := answers[port]; want != notScanned && got != want {
			wrong = append(wrong, fmt.Sprintf("%s, from %s: %s port %d %s, but docs/listeners.md lists that it %s",
				machine.ID, place, protocol, port, got, want))
		}
	}
	return wrong
}

// scan sends a packet to each target, to all at the same time, and returns their answers. It uses the source address if
// it is valid.
func scan(protocol string, source netip.Addr, targets []netip.AddrPort, wait time.Duration) (
	map[netip.AddrPort]string, error) {
	kind, event := unix.SOCK_STREAM, int16(unix.POLLOUT)
	if protocol == "udp" {
		kind, event = unix.SOCK_DGRAM, unix.POLLIN
	}
	answers, pending := map[netip.AddrPort]string{}, map[int32]netip.AddrPort{}
	for _, target := range targets {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		if source.IsValid() {
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
				return nil, err
			}
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()})
		if err == nil && protocol == "udp" {
			_, err = unix.Write(fd, []byte{0})
		}
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
			answers[target] = refused
		case err == nil || errors.Is(err, unix.EINPROGRESS):
			pending[int32(fd)] = target
		default:
			return nil, fmt.Errorf("%s: %w", target, err)
		}
	}
	for end := time.Now().Add(wait); len(pending) > 0 && time.Now().Before(end); {
		var poll []unix.PollFd
		for fd := range pending {
			poll = append(poll, unix.PollFd{Fd: fd, Events: event})
		}
		if _, err := unix.Poll(poll, int(time.Until(end).Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		for _, p := range poll {
			if p.Revents == 0 {
				continue
			}
			code, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
			switch {
			case err != nil:
				return nil, err
			case code == 0:
				answers[pending[p.Fd]] = accepted
			case unix.Errno(code) == unix.ECONNREFUSED:
				answers[pending[p.Fd]] = refused
			default:
				answers[pending[p.Fd]] = unix.Errno(code).Error()
			}
			delete(pending, p.Fd)
		}
	}
	for _, target := range pending {
		answers[target] = silent
	}
	return answers, nil
}

// e2eConfig returns the configuration of the tests' cluster.
func e2eConfig(t testing.TB) cluster.Config {
	t.Helper()
	config, err := cluster.Decode("e2e", edited(t, "../Pulumi.dev.yaml",
		patched(t, "e2e.yaml"))["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	return config
}

// TestListenersFollowTheSecurityGroups checks the table in docs/listeners.md against the rules of the security groups.
// A place reaches a port if a rule allows it, unless the socket has the address 127.0.0.1.
func TestListenersFollowTheSecurityGroups(t *testing.T) {
	t.Parallel()
	for _, monitoring := range []bool{false, true} {
		config := e2eConfig(t)
		config.Monitoring.Enabled = monitoring
		checkListeners(t, cluster.NewPlan(config))
	}
}

func checkListeners(t *testing.T, plan cluster.Plan) {
	t.Helper()
	pod := plan.Network.PodCIDR.Addr()
	from := map[string]netip.Addr{
		"pod": pod, "tenant": pod, "worker": plan.WithRole(cluster.RoleWorker)[0].Address,
		"router": netip.MustParseAddr("10.0.0.1"), "client": plan.API.AllowedCIDRs[0].Addr(),
		"other": netip.MustParseAddr("192.0.2.1"),
	}
	for _, row := range listeners(t, plan) {
		port := 1 // it has no listener
		if row.port != "other" {
			port, _ = strconv.Atoi(row.port) // no rule has the port 0 of random
		}
		for _, place := range places {
			allowed := row.address != "127.0.0.1" && slices.ContainsFunc(plan.Rules, func(r cluster.Rule) bool {
				return r.To == row.role && (r.Protocol == "" || r.Protocol == row.protocol) && r.From.Contains(from[place]) &&
					(r.Port == 0 || r.Port <= port && port <= max(r.Port, r.LastPort))
			})
			assert.Equal(t, allowed, row.from[place] != "no", "%s port %s from %s", row.role, row.port, place)
		}
	}
}

func TestCompareSockets(t *testing.T) {
	t.Parallel()
	own := netip.MustParseAddr("10.0.0.16")
	found, err := sockets(
		`tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))
tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=1,fd=4))
tcp LISTEN 0 4096 127.0.0.1:41235 0.0.0.0:* users:(("containerd",pid=2,fd=9))
udp UNCONN 0 0 10.0.0.16%eth0:68 0.0.0.0:* users:(("dhclient",pid=3,fd=9))
tcp LISTEN 0 4096 *:9094 *:*
`, own)
	require.NoError(t, err)
	row := func(protocol, address, port, program string) listener {
		return listener{role: cluster.RoleWorker, protocol: protocol, address: address, port: port, program: program}
	}
	rows := []listener{row("tcp", "all", "22", "sshd"), row("tcp", "127.0.0.1", "random", "containerd"),
		row("udp", "own", "68", "dhclient"), row("tcp", "127.0.0.1", "10257", "kube-controller-manager"),
		row("tcp", "all", "other", "none")}
	other := []socket{{"tcp", "127.0.0.1", "10257", "kube-controller"}}
	assert.Equal(t, []string{
		"worker-0: tcp 127.0.0.1 10257 kube-controller: not in docs/listeners.md",
		"worker-1: tcp all 9094 unknown: not in docs/listeners.md",
		"worker: tcp 127.0.0.1 10257 kube-scheduler: on no machine",
	}, compareSockets(append(rows[:3:3], row("tcp", "127.0.0.1", "10257", "kube-scheduler")), cluster.RoleWorker,
		map[string][]socket{"worker-1": found, "worker-0": other}))
	assert.Empty(t, compareSockets(rows, cluster.RoleWorker,
		map[string][]socket{"worker-1": found[:4], "worker-0": other}))
	_, err = sockets("Cannot open netlink socket\n", own)
	assert.Error(t, err)
}

func TestCompareAnswers(t *testing.T) {
	t.Parallel()
	row := func(role cluster.Role, protocol, port, from string) listener {
		return listener{role: role, protocol: protocol, port: port, from: map[string]string{"pod": from}}
	}
	rows := []listener{
		row(cluster.RoleWorker, "tcp", "22", "yes"), row(cluster.RoleWorker, "tcp", "179", "peer"),
		row(cluster.RoleWorker, "tcp", "10248", "no"), row(cluster.RoleWorker, "tcp", "other", "yes"),
		row(cluster.RoleWorker, "udp", "53", "yes"), row(cluster.RoleWorker, "udp", "other", "yes"),
		row(cluster.RoleEtcd, "tcp", "2379", "yes"), row(cluster.RoleEtcd, "tcp", "other", "no"),
	}
	for _, test := range []struct {
		role     cluster.Role
		protocol string
		answers  map[int]string
		wrong    int
	}{
		{cluster.RoleWorker, "tcp", map[int]string{22: accepted, 179: silent, 10248: refused, 7: refused}, 0},
		{cluster.RoleWorker, "tcp", map[int]string{22: refused, 10248: accepted, 7: silent}, 3},
		{cluster.RoleWorker, "udp", map[int]string{53: silent, 7: refused}, 0},
		{cluster.RoleEtcd, "tcp", map[int]string{2379: accepted, 7: silent}, 0},
		{cluster.RoleEtcd, "tcp", map[int]string{2379: silent, 7: refused}, 2},
	} {
		machine := cluster.Machine{ID: "machine", Role: test.role}
		assert.Len(t, compareAnswers(rows, machine, "pod", test.protocol, test.answers), test.wrong, test)
	}
	assert.Equal(t, []string{"machine, from pod: tcp port 7 accepts, but docs/listeners.md lists that it refuses"},
		compareAnswers(rows, cluster.Machine{ID: "machine", Role: cluster.RoleWorker}, "pod", "tcp",
			map[int]string{7: accepted}))
}

// TestScan scans ports with a listener and without one. One listener does not answer, because its queue of connections
// is full.
func TestScan(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParseAddr("127.0.0.1")
	bound := func(kind int) (fd int, at netip.AddrPort) {
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4()}))
		name, err := unix.Getsockname(fd)
		require.NoError(t, err)
		return fd, netip.AddrPortFrom(loopback, uint16(name.(*unix.SockaddrInet4).Port))
	}
	check := func(protocol string, wait time.Duration, want map[netip.AddrPort]string) {
		t.Helper()
		answers, err := scan(protocol, loopback, slices.Collect(maps.Keys(want)), wait)
		require.NoError(t, err)
		assert.Equal(t, want, answers)
	}
	fd, open := bound(unix.SOCK_STREAM)
	require.NoError(t, unix.Listen(fd, 8))
	_, closed := bound(unix.SOCK_STREAM)
	check("tcp", 30*time.Second, map[netip.AddrPort]string{open: accepted, closed: refused})

	fd, full := bound(unix.SOCK_STREAM)
	require.NoError(t, unix.Listen(fd, 0))
	check("tcp", 30*time.Second, map[netip.AddrPort]string{full: accepted})
	check("tcp", 100*time.Millisecond, map[netip.AddrPort]string{full: silent})

	_, open = bound(unix.SOCK_DGRAM)
	fd, closed = bound(unix.SOCK_DGRAM)
	// it receives packets only from this address
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback.As4(), Port: int(open.Port())}))
	check("udp", 100*time.Millisecond, map[netip.AddrPort]string{open: silent})
	check("udp", 30*time.Second, map[netip.AddrPort]string{closed: refused})
}
