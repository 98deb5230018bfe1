//go:build e2e

package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/turns"
)

// namespace is a network namespace of devcloud's box. This process can dial, listen and run commands in it.
type namespace struct {
	file *os.File
	root string // root folder of the box
}

// openNamespace opens a named network namespace of the box, or the box's own if name is empty.
func openNamespace(t testing.TB, name string) namespace {
	t.Helper()
	var record struct{ Init struct{ PID int } }
	text, err := os.ReadFile(dirs.State("devcloud", "record.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &record))
	path, root := fmt.Sprintf("/proc/%d/ns/net", record.Init.PID), fmt.Sprintf("/proc/%d/root", record.Init.PID)
	if name != "" {
		path = filepath.Join(root, "run/netns", name)
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return namespace{file, root}
}

// do runs f in the namespace, in a thread that ends with f. Sockets that f opens, and commands that it runs,
// stay in the namespace.
func (n namespace) do(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// iptables runs the box's iptables, because the host may not have it.
func (n namespace) iptables(args ...string) error {
	return n.do(func() error {
		cmd := exec.Command("/usr/sbin/iptables", append([]string{"--wait"}, args...)...)
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: n.root}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
		return nil
	})
}

// ip runs iproute2's ip and returns its output.
func (n namespace) ip(args ...string) ([]byte, error) {
	var out []byte
	err := n.do(func() (err error) {
		out, err = exec.Command("ip", args...).Output()
		return err
	})
	return out, err
}

func (n namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// get sends one request over a new connection and returns the body of the response.
func (n namespace) get(url string, timeout time.Duration) (string, error) {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

func (n namespace) listen(t *testing.T, address string) (listener net.Listener) {
	t.Helper()
	require.NoError(t, n.do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	t.Cleanup(func() { listener.Close() })
	return listener
}

// accept listens on a free port of address, and returns the port. It accepts one connection and sends the
// client's address on from.
func (n namespace) accept(t *testing.T, address string) (port int, from <-chan string) {
	t.Helper()
	listener := n.listen(t, net.JoinHostPort(address, "0"))
	seen := make(chan string, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			seen <- host
			conn.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, seen
}

// forward adds an unused address to the namespace, and forwards its HTTP requests to another address until
// the test ends.
func (n namespace) forward(t *testing.T, address, to string) {
	t.Helper()
	host, _, err := net.SplitHostPort(address)
	require.NoError(t, err)
	_, err = n.ip("address", "add", host+"/32", "dev", "lo")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = n.ip("address", "del", host+"/32", "dev", "lo") })
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	proxy.Transport = &http.Transport{DialContext: n.dial}
	server := &http.Server{Handler: proxy}
	t.Cleanup(func() { server.Close() })
	go server.Serve(n.listen(t, address))
}

// routes maps the prefixes of a namespace's routes to their next hops.
type routes map[netip.Prefix][]string

func (n namespace) routes() (routes, error) {
	out, err := n.ip("-json", "-4", "route")
	if err != nil {
		return nil, err
	}
	type hop struct{ Gateway string }
	var list []struct {
		hop
		Dst      string
		NextHops []hop
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, err
	}
	all := routes{}
	for _, route := range list {
		prefix, err := netip.ParsePrefix(route.Dst)
		if address, bad := netip.ParseAddr(route.Dst); err != nil && bad == nil {
			prefix, err = netip.PrefixFrom(address, 32), nil
		}
		if err != nil { // the default route
			continue
		}
		for _, hop := range append(route.NextHops, route.hop) {
			if hop.Gateway != "" {
				all[prefix] = append(all[prefix], hop.Gateway)
			}
		}
		slices.Sort(all[prefix])
	}
	return all, nil
}

// of returns the next hops of packets to an address.
func (r routes) of(address string) []string {
	to, longest, hops := netip.MustParseAddr(address), -1, []string(nil)
	for prefix, via := range r {
		if prefix.Contains(to) && prefix.Bits() > longest {
			longest, hops = prefix.Bits(), via
		}
	}
	return hops
}

// via returns true if any route has this next hop.
func (r routes) via(address string) bool {
	for _, hops := range r {
		if slices.Contains(hops, address) {
			return true
		}
	}
	return false
}

// waitFor waits until the condition is true for the namespace's routes, and returns the duration.
func (n namespace) waitFor(
	t testing.TB, timeout time.Duration, name string, condition func(routes) bool,
) time.Duration {
	t.Helper()
	timeout *= turns.Patience
	begin := time.Now()
	for {
		now, err := n.routes()
		require.NoError(t, err)
		if condition(now) {
			return time.Since(begin)
		}
		require.Less(t, time.Since(begin), timeout, "not within the timeout: %s; the routes are %v", name, now)
		time.Sleep(50 * time.Millisecond)
	}
}

// cable disconnects a machine's port as a power cut does, so that no connection is closed. It can also
// connect the port again.
func (c cloud) cable(t testing.TB, box namespace, machine, state string) {
	t.Helper()
	port := c.port(t, machine)
	_, err := box.ip("link", "set", ("tap" + port.ID)[:14], state)
	require.NoError(t, err)
}

// port returns a machine's port in Neutron.
func (c cloud) port(t testing.TB, machine string) ports.Port {
	t.Helper()
	pages, err := ports.List(c.clients["network"], ports.ListOpts{Name: machine}).AllPages(context.Background())
	require.NoError(t, err)
	found, err := ports.ExtractPorts(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// answerTime is the time limit of one request. answerSeconds is the same for commands.
const answerTime = turns.Patience * 4 * time.Second

var answerSeconds = fmt.Sprint(answerTime.Seconds())

// load holds clients in a namespace. Each client sends small requests one after the other, each over a new
// connection. The clients are beyond the router, because a router is not a fair client of its own routes.
// Linux sends some packets without a socket, such as the last ACK of a closed connection, and can choose
// another next hop for them.
type load struct {
	stop     chan struct{}
	done     sync.WaitGroup
	mutex    sync.Mutex
	begin    time.Time
	answered int
	// broken and late count requests that succeeded at the second try. For broken, the first connection was
	// reset or closed. For late, the first try timed out or failed in another way. lost holds the times,
	// since begin, of requests whose second try failed, too.
	broken, late int
	lost         []time.Duration
	lastError    error
	slowest      time.Duration // of all requests, with their second tries
}

const loadClients = 4

func (n namespace) startLoad(url string) *load {
	l := &load{stop: make(chan struct{}), begin: time.Now()}
	for range loadClients {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(100 * time.Millisecond):
					l.request(n, url)
				}
			}
		})
	}
	return l
}

// request sends a request and counts the result. It repeats a failed request once, as clients do with idempotent
// requests.
func (l *load) request(n namespace, url string) {
	at := time.Since(l.begin)
	_, first := n.get(url, answerTime)
	err := first
	if first != nil {
		_, err = n.get(url, answerTime)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.slowest = max(l.slowest, time.Since(l.begin)-at)
	switch {
	case err != nil:
		l.lost, l.lastError = append(l.lost, at), err
	case first == nil:
		l.answered++
	case errors.Is(first, syscall.ECONNRESET) || errors.Is(first, io.EOF) || errors.Is(first, io.ErrUnexpectedEOF):
		l.broken++
		l.answered++
	default:
		l.late, l.lastError = l.late+1, first
		l.answered++
	}
}

func (l *load) lastLost() time.Duration {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.lost) == 0 {
		return 0
	}
	return slices.Max(l.lost)
}

// end stops the clients and returns a summary.
func (l *load) end() string {
	close(l.stop)
	l.done.Wait()
	return fmt.Sprintf("%d requests succeeded, %d of them at the second try after a closed connection, %d after another "+
		"error. %d were lost. The slowest took %.1f s. Last error: %v",
		l.answered, l.broken, l.late, len(l.lost), l.slowest.Seconds(), l.lastError)
}
