//go:build e2e

package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubernetes-openstack/tests/dashboards"
)

// TestDashboards checks the dashboards of the cluster in KUBECONFIG, and writes a picture of each to the documentation.
// `make dashboards` runs it.
func TestDashboards(t *testing.T) {
	testDashboards(t, exec.CommandContext(t.Context(), "kubectl", forwardPerses...), "../docs/dashboards")
}

// forwardPerses are the arguments with which kubectl forwards a free port of this host to Perses.
var forwardPerses = []string{"port-forward", "--namespace=monitoring", "deployment/perses", ":8080"}

// testDashboards waits until each panel of each dashboard has data. It writes pictures to the folder, unless it is "".
func testDashboards(t *testing.T, forward *exec.Cmd, folder string) {
	server := "http://" + forwarded(t, forward)
	page := dashboards.Browser(t)
	for _, d := range dashboards.All(t, "../k8s/monitoring/dashboards") {
		begin := time.Now()
		// a rate needs two values, and Prometheus gets one in 30 seconds
		eventually(t, 2*time.Minute, func() error {
			if problems := d.Open(page, server); len(problems) > 0 {
				return fmt.Errorf("%s: %s", d.Metadata.Name, strings.Join(problems, "; "))
			}
			return nil
		})
		t.Logf("%s has data in %d panels after %.0f s", d.Metadata.Name, len(d.Spec.Panels), time.Since(begin).Seconds())
		if folder != "" {
			page.Screenshot(filepath.Join(folder, d.Metadata.Name+".png"))
		}
	}
}
