// Command dnsmasq-nanny runs dnsmasq with the stub domains and name servers in the ConfigMap kube-dns. The arguments
// after -- are dnsmasq's. It has the flags of upstream's dnsmasq-nanny that the manifest uses.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"kubernetes-openstack/hack/toolchain/skydns/config"
)

var (
	program  = flag.String("dnsmasqExec", "/usr/sbin/dnsmasq", "path of dnsmasq")
	folder   = flag.String("configDir", "/etc/k8s/dns/dnsmasq-nanny", "folder with the ConfigMap kube-dns")
	interval = flag.Duration("syncInterval", 10*time.Second, "time between two reads of the folder")
	restart  = flag.Bool("restartDnsmasq", false, "restart dnsmasq after a change of the ConfigMap")
)

func main() {
	klog.InitFlags(nil)
	flag.Parse() // stops at --
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := supervise(ctx, *program, flag.Args(), config.Watch(ctx, *folder, *interval), *restart); err != nil {
		klog.Exitf("dnsmasq-nanny: %v", err)
	}
}

// supervise runs dnsmasq until ctx ends, with the last settings if it may restart it. It returns an error if dnsmasq
// ends by itself.
func supervise(ctx context.Context, program string, args []string, settings <-chan config.Config, restart bool) error {
	var current config.Config
	select {
	case current = <-settings:
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		life, end := context.WithCancel(ctx)
		cmd := exec.CommandContext(life, program, slices.Concat(args, arguments(current))...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		klog.Infof("start %s", cmd)
		if err := cmd.Start(); err != nil {
			end()
			return err
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = cmd.Wait() }() // it sets ProcessState
		for changed := false; !changed; {
			select {
			case <-ended:
				end()
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("dnsmasq ended: %s", cmd.ProcessState)
			case current = <-settings:
				changed = restart
			}
		}
		end()
		<-ended
	}
	return nil
}

// arguments returns dnsmasq's arguments for the settings.
func arguments(c config.Config) (args []string) {
	for _, domain := range slices.Sorted(maps.Keys(c.StubDomains)) {
		for _, s := range c.StubDomains[domain] {
			args = append(args, fmt.Sprintf("--server=/%s/%s#%d", domain, s.Addr(), s.Port()))
		}
	}
	for _, s := range c.UpstreamNameservers {
		args = append(args, fmt.Sprintf("--server=%s#%d", s.Addr(), s.Port()))
	}
	if len(c.UpstreamNameservers) > 0 {
		args = append(args, "--no-resolv")
	}
	return args
}
