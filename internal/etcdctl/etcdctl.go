// Package etcdctl runs etcdctl, and other programs in the same way.
package etcdctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Client runs etcdctl as etcd's user root. The gateway for HTTP is not an alternative, because it ignores the user of a
// certificate.
type Client struct {
	PKI       string // folder with ca.crt, client.crt and client.key
	Endpoints []string
}

// Command returns a command of etcdctl.
func (c Client) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "etcdctl", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"ETCDCTL_ENDPOINTS=" + strings.Join(c.Endpoints, ","),
		"ETCDCTL_CACERT=" + filepath.Join(c.PKI, "ca.crt"),
		"ETCDCTL_CERT=" + filepath.Join(c.PKI, "client.crt"),
		"ETCDCTL_KEY=" + filepath.Join(c.PKI, "client.key"),
	}
	return cmd
}

// Run runs a command of etcdctl like the function Run.
func (c Client) Run(ctx context.Context, args ...string) ([]byte, error) {
	return Run(c.Command(ctx, args...))
}

// Run returns the standard output of a command. The error has the last line of its standard error, because the lines
// before are a log.
func Run(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		last = strings.TrimPrefix(strings.TrimPrefix(last, "Error: "), cmd.Args[0]+": ")
		err = errors.New(last)
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args[:min(3, len(cmd.Args))], " "), err)
}
