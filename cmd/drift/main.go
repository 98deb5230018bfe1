// Command drift compares the state of a stack with OpenStack, and its plan with what the machines run:
// docs/operations.md#find-drift.
//
//	go build -o dist/ ./cmd/drift && dist/drift -stack prod
//
// It reads the APIs and the consoles of the machines, and changes nothing. The exit code is 0 without differences, 2 if
// there are differences, and 1 if the state cannot be read, or if the credentials are for another project. `make drift`
// runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"kubernetes-openstack/internal/drift"
	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/progress"
	"kubernetes-openstack/internal/status"
)

func main() {
	name := flag.String("stack", "dev", "name of the `stack`")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	timeout := flag.Duration("timeout", 20*time.Second, "`limit` of each read. What cannot be read is a finding")
	flag.CommandLine.Init("drift", flag.ContinueOnError) // flag's own exit code for a wrong flag is 2, as for differences
	if flag.CommandLine.Parse(os.Args[1:]) != nil {
		os.Exit(1)
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "drift: unexpected argument %q: only flags are allowed\n", flag.Arg(0))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	report, err := run(ctx, *name, *timeout, progress.New(os.Stderr, "drift"))
	stop()
	if err == nil {
		err = write(os.Stdout, report, *asJSON)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "drift:", err)
		os.Exit(1)
	case len(report.Findings) > 0:
		os.Exit(2)
	}
}

func write(out io.Writer, report drift.Report, asJSON bool) error {
	text := report.String()
	if asJSON {
		encoded, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		text = string(encoded) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

func run(ctx context.Context, name string, timeout time.Duration, log *progress.Log) (report drift.Report, err error) {
	var stack status.Stack
	var config string
	err = log.Step("read the state of "+name, func() (err error) {
		stack, config, err = readStack(ctx, name)
		return err
	})
	if err != nil {
		return report, err
	}
	plan, err := planOf(stack, config)
	if err != nil {
		return report, err
	}
	var project *openstack.Project
	cloud := drift.Cloud{}
	err = log.Step("log in to OpenStack", func() error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if project, err = openstack.Connect(ctx, drift.Services...); err != nil {
			cloud.Unread = map[string]string{"log in": strings.ReplaceAll(err.Error(), "\n", " ")}
			return nil // a finding
		}
		return otherProject(stack, project)
	})
	if err != nil {
		return report, err
	}
	source := status.Source{Kubeconfig: stack.Kubeconfig(), Machines: stack.Machines(), EtcdCA: stack.EtcdCA(),
		Timeout: timeout}
	read := make(chan struct{})
	if project == nil {
		close(read)
	} else {
		source.Console = project.Console
		go func() {
			defer close(read)
			_ = log.Step("list the resources in OpenStack", func() error {
				cloud = drift.ReadCloud(ctx, project, timeout)
				return nil
			})
		}()
	}
	var observed status.Cluster
	_ = log.Step(fmt.Sprintf("read the API and %d machines", len(source.Machines)), func() error {
		observed = status.Read(ctx, source)
		return nil
	})
	<-read
	if ctx.Err() != nil {
		return report, errors.New("interrupted")
	}
	return drift.Find(&plan, stack, cloud, observed), nil
}

// otherProject returns an error if the credentials are not for the project of the stack. There, drift would find
// nothing.
func otherProject(stack status.Stack, project *openstack.Project) error {
	if id := stack.Project(); id != "" && id != project.ID {
		return fmt.Errorf("the credentials are for OpenStack project %s (%s), but the resources of this stack are in "+
			"project %s: set OS_CLOUD or the OS_* variables for project %[3]s", project.ID, project.Name, id)
	}
	return nil
}
