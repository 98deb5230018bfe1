// Command node-approver approves certificate requests of kubelets if they match the node that requests them. These
// are requests for the first client certificate of a machine with a bootstrap token, and for serving certificates.
// All other requests stay pending. Their reason is in the log and, for a serving certificate, in the condition
// ServingCertificatePending of the Node.
//
// Each control plane runs node-approver against its own API server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	log := log.New(os.Stderr, "", 0) // the journal adds the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], log); err != nil {
		log.Fatalf("node-approver: %v", err)
	}
}

func run(ctx context.Context, args []string, log *log.Logger) error {
	kubeconfig, plan, err := parseFlags(args)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 50, 100 // hundreds of nodes may join in parallel
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return (&approver{client: client, plan: plan, log: log}).run(ctx, notify)
}

func parseFlags(args []string) (kubeconfig string, p plan, err error) {
	flags := flag.NewFlagSet("node-approver", flag.ContinueOnError)
	var machines, ranges, reserved string
	flags.StringVar(&ranges, "cluster-cidrs", "", "CIDRs of pods and Services, separated by commas")
	flags.StringVar(&p.controlPlanePrefix, "control-plane-prefix", "", "prefix of control planes' names (required)")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the user node-approver (required)")
	flags.StringVar(&machines, "machine-cidr", "", "CIDR of the machines' network (required)")
	flags.StringVar(&reserved, "reserved", "", "OWNER=ADDRESS of machines, API and routers, separated by commas")
	if err := flags.Parse(args); err != nil {
		return "", p, err
	}
	if flags.NArg() > 0 {
		return "", p, fmt.Errorf("unexpected argument %q: only flags are allowed", flags.Arg(0))
	}
	if p.controlPlanePrefix == "" || kubeconfig == "" {
		return "", p, errors.New("--control-plane-prefix and --kubeconfig are required")
	}
	if p.machines, err = netip.ParsePrefix(machines); err != nil {
		return "", p, fmt.Errorf("--machine-cidr: %w", err)
	}
	for cidr := range split(ranges) {
		parsed, err := netip.ParsePrefix(cidr)
		if err != nil {
			return "", p, fmt.Errorf("--cluster-cidrs: %w", err)
		}
		p.ranges = append(p.ranges, parsed)
	}
	p.reserved = map[netip.Addr]string{}
	for pair := range split(reserved) {
		owner, text, _ := strings.Cut(pair, "=")
		address, err := netip.ParseAddr(text)
		if err != nil || owner == "" {
			return "", p, fmt.Errorf("--reserved: %q must be OWNER=ADDRESS", pair)
		}
		p.reserved[address] = owner
	}
	return kubeconfig, p, nil
}

// split returns the elements of a comma-separated list, which may be empty.
func split(list string) func(yield func(string) bool) {
	return strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' })
}

// notify reports to systemd that the program is ready (sd_notify(3)). It does nothing without systemd.
func notify() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("READY=1"))
	return errors.Join(err, conn.Close())
}
