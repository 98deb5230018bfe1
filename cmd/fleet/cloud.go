package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kubernetes-openstack/internal/drift"
	"kubernetes-openstack/internal/fleet"
	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/status"
)

// clouds reads clusters, and has one login for each cloud.
type clouds struct {
	timeout time.Duration
	mu      sync.Mutex
	logins  map[string]func() (*openstack.Project, error)
}

func newClouds(timeout time.Duration) *clouds {
	return &clouds{timeout: timeout, logins: map[string]func() (*openstack.Project, error){}}
}

// read reads everything about a cluster in parallel. Without a login, it reads only the Kubernetes API.
func (c *clouds) read(ctx context.Context, stack status.Stack) fleet.Facts {
	f := fleet.Facts{Unknown: map[fleet.Part]string{}}
	source := status.Source{Kubeconfig: stack.Kubeconfig(), Machines: stack.Machines(), EtcdCA: stack.EtcdCA(),
		Timeout: c.timeout}
	project, err := c.project(ctx, stack)
	if err != nil {
		for _, part := range []fleet.Part{fleet.EtcdPart, fleet.BGPPart, fleet.BackupPart, fleet.DriftPart} {
			f.Unknown[part] = err.Error()
		}
		f.Status = status.Read(ctx, source)
		return f
	}
	source.Console = project.Console
	var cloud drift.Cloud
	var backup error
	var reads sync.WaitGroup
	reads.Go(func() { f.Status = status.Read(ctx, source) })
	reads.Go(func() { f.Backup, backup = newestBackup(ctx, project, stack) })
	reads.Go(func() { cloud = drift.ReadCloud(ctx, project, c.timeout) })
	reads.Wait()
	if backup != nil {
		f.Unknown[fleet.BackupPart] = backup.Error()
	}
	for list, reason := range cloud.Unread {
		f.Unknown[fleet.DriftPart] = list + ": " + reason
	}
	f.Drift = len(drift.Find(nil, stack, cloud, f.Status).Findings)
	return f
}

// newestBackup returns the time of the newest snapshot, or zero if the stack has no container.
func newestBackup(ctx context.Context, project *openstack.Project, stack status.Stack) (time.Time, error) {
	containers := stack.OfType("openstack:objectstorage/container:Container")
	switch {
	case len(containers) == 0:
		return time.Time{}, nil
	case project.ObjectStore == nil:
		return time.Time{}, errors.New("the cloud has no object storage")
	}
	return status.NewestBackup(ctx, project.ObjectStore, containers[0].ID, stack.Cluster(), time.Now().Add(time.Hour))
}

// project returns the login to the project of a stack: that of the cloud in clouds.yaml with the name of the stack, or
// else that of the environment. Stacks of one cloud share a login.
func (c *clouds) project(ctx context.Context, stack status.Stack) (*openstack.Project, error) {
	name := stack.Name
	if !openstack.HasCloud(name) {
		name = "" // the environment
	}
	c.mu.Lock()
	login := c.logins[name]
	if login == nil {
		login = sync.OnceValues(func() (*openstack.Project, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout) // it is not only for this stack
			defer cancel()
			return openstack.ConnectCloud(ctx, name, drift.Services...)
		})
		c.logins[name] = login
	}
	c.mu.Unlock()
	project, err := login()
	if err != nil {
		return nil, err
	}
	if want := stack.Project(); project.ID != want {
		return nil, fmt.Errorf("the login is for OpenStack project %s (%s), and the stack is in project %s: add a cloud "+
			"with the name of the stack to clouds.yaml", project.ID, project.Name, want)
	}
	return project, nil
}
