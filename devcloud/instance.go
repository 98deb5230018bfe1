package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// execute runs a shell line as root in an instance of any project, which its name or its ID says, or as the router.
func execute(ctx context.Context, instance, line string) error {
	var record Record
	if err := load("record.json", &record); err != nil {
		return err
	}
	if !record.Init.alive() {
		return errors.New("devcloud does not run")
	}
	if instance == router {
		return attached(record.enter("ip", "netns", "exec", router, "bash", "-lc", line))
	}
	client, err := admin(ctx)
	if err != nil {
		return err
	}
	compute, err := openstack.NewComputeV2(client, inRegion)
	if err != nil {
		return err
	}
	pages, err := servers.List(compute, servers.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return err
	}
	all, err := servers.ExtractServers(pages)
	if err != nil {
		return err
	}
	for _, server := range all {
		if server.Name != instance && server.ID != instance {
			continue
		}
		return attached(record.enter("/opt/devcloud/nova/nspawn-enter", "/var/lib/nova/instances/"+server.ID, "bash", "-lc", line))
	}
	return fmt.Errorf("there is no instance %s", instance)
}

// attached runs a command whose input and output are ours.
func attached(command *exec.Cmd) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
