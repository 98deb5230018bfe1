// Devcloud runs a real OpenStack on one machine, in its own namespaces. All its processes end with one process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

const usage = `usage: go run ./hack/devcloud COMMAND

  up [--compute nspawn|libvirt|fake] [--image FILE] [--mirror FOLDER] [--variants NAME,…]
                            start OpenStack; the first run builds it, later runs use the kept data; instances download
                            from the mirror, by default the toolchain's; variants are differences of other clouds
  down [--purge]            stop OpenStack and remove all that it created; keep the data, unless purged
  status                    show the status of the services; exit status 0 only if all are healthy
  env                       print shell exports for OpenStack clients
  logs [SERVICE]            print the logs of all services, or of one
  logs --copy FOLDER        copy these logs, and the journals and consoles of all instances (nspawn), to a new folder
  exec INSTANCE -- COMMAND  run a command as root in the login shell of an instance (nspawn), or on the router
  power-cut INSTANCE        cut the power of an instance (nspawn): no data that it has not synced survives
  image                     build the image of the instances if it is missing, and print its path
  image official            the same for the tests' image with the services of official images
  image selinux             the same for the image of make e2e-selinux
  image centos              the same for the files that make the image similar to CentOS, for tests
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var command *exec.ExitError
	if errors.As(err, &command) && len(os.Args) > 1 && os.Args[1] == "exec" {
		os.Exit(command.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devcloud:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is required\n" + usage)
	}
	command, args := args[0], args[1:]
	log := progress.New(os.Stderr, "devcloud")
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	switch command {
	case "up":
		compute := flags.String("compute", "nspawn", "")
		image := flags.String("image", "", "")
		mirror := flags.String("mirror", dirs.Mirror(), "")
		variants := flags.String("variants", "", "")
		if flags.Parse(args); flags.NArg() == 0 {
			return up(ctx, log, *compute, *image, *mirror, *variants)
		}
	case "down":
		purge := flags.Bool("purge", false, "")
		if flags.Parse(args); flags.NArg() == 0 {
			return down(log, *purge)
		}
	case "status":
		if len(args) == 0 {
			return status(ctx)
		}
	case "env":
		if len(args) == 0 {
			fmt.Printf("export OS_CLIENT_CONFIG_FILE='%s' OS_CLOUD=devcloud\n", state("clouds.yaml"))
			return nil
		}
	case "logs":
		if len(args) < 2 || len(args) == 2 && args[0] == "--copy" {
			return logs(args)
		}
	case "exec":
		if len(args) > 2 && args[1] == "--" {
			return execute(args[0], strings.Join(args[2:], " "))
		}
	case "power-cut":
		if len(args) == 1 {
			return cutPower(args[0])
		}
	case "image":
		build, ok := map[string]func(context.Context, *progress.Log) (string, error){
			"": Image, "centos": CentOS, "official": OfficialImage, "selinux": SELinuxImage,
		}[strings.Join(args, " ")]
		if ok {
			path, err := build(ctx, log)
			fmt.Println(path)
			return err
		}
	case "init":
		return initialize()
	case "init2":
		return initialize2(args[0])
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	}
	return fmt.Errorf("unknown command or arguments: %q\n%s", strings.Join(os.Args[1:], " "), usage)
}
