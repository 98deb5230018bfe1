package k8s

import (
	"regexp"
	"slices"

	"kubernetes-openstack/cluster"
)

var imageLine = regexp.MustCompile(`(?m)^ *(?:- )?image: (\S+)$`)

// Images returns the images of all pods that New declares, sorted. It returns an error if a template fails.
func Images(plan cluster.Plan) ([]string, error) {
	var images []string
	manifests := []manifest{
		kubeControllers(plan), cloudControllerManager(plan), dns(plan), metricsServer(plan), snapshots(plan),
		cinderCSI(plan),
	}
	if plan.Monitoring.Enabled {
		manifests = append(manifests, monitoring(plan))
	}
	for _, m := range manifests {
		text, err := m.text()
		if err != nil {
			return nil, err
		}
		for _, match := range imageLine.FindAllStringSubmatch(text, -1) {
			images = append(images, match[1])
		}
	}
	slices.Sort(images)
	return slices.Compact(images), nil
}
