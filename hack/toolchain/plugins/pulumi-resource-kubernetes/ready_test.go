package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestReadiness(t *testing.T) {
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {generation: 2}
spec: {replicas: 2}
status: `
	for name, test := range map[string]struct{ object, reason, err string }{
		"not yet observed": {
			object: deployment +
				`{observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}`,
			reason: "Deployment generation is 2, but latest observed generation is 1",
		},
		"one of two replicas": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}`,
			reason: "Available: 1/2",
		},
		"after its progress deadline": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, conditions: [{type: Progressing, status: "False", reason: ` +
				`ProgressDeadlineExceeded}]}`,
			reason: "Progress deadline exceeded",
		},
		"ready": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: ` +
				`[{type: Available, status: "True"}]}`,
		},
		"DaemonSet": {
			object: `{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, ` +
				`desiredNumberScheduled: 3, currentNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2, ` +
				`numberReady: 3}}`,
			reason: "Available: 2/3",
		},
		"running Job": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", active: 1}}`,
			reason: "Job in progress. success:0, active: 1, failed: 0",
		},
		"complete Job": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", succeeded: 1, conditions: ` +
				`[{type: Complete, status: "True"}]}}`,
		},
		"failed Job": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", failed: 1, conditions: ` +
				`[{type: Failed, status: "True"}]}}`,
			err: "Job Failed. failed: 1/1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			reason, err := readiness(parse(t, test.object))
			assert.Equal(t, test.reason, reason)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		})
	}
}

func TestPodProblem(t *testing.T) {
	for want, pod := range map[string]string{
		"": `{status: {conditions: [{type: Ready, status: "True"}]}}`,
		"Unschedulable: 0/4 nodes are available": `{status: {conditions: [{type: PodScheduled, status: "False", reason: ` +
			`Unschedulable, message: 0/4 nodes are available}]}}`,
		"dns on n1: ImagePullBackOff: Back-off pulling image": `{spec: {nodeName: n1}, status: {containerStatuses: [
			{name: dns, state: {waiting: {reason: ImagePullBackOff, message: Back-off pulling image}}}]}}`,
		"dns on n1: CrashLoopBackOff: exit code 2: no such file": `{spec: {nodeName: n1}, status: {containerStatuses: [
			{name: good, ready: true, state: {running: {}}},
			{name: dns, state: {waiting: {reason: CrashLoopBackOff, message: back-off}},
				lastState: {terminated: {exitCode: 2, message: no such file}}}]}}`,
		"dns on n1 is running but not ready": `{spec: {nodeName: n1}, status: {initContainerStatuses: [
			{name: init, state: {terminated: {exitCode: 0}}}], containerStatuses: [{name: dns, state: {running: {}}}]}}`,
		"init on n1: exit code 1: no": `{spec: {nodeName: n1}, status: {initContainerStatuses: [{name: init, state: ` +
			`{terminated: {exitCode: 1, message: "no"}}}]}}`,
		"Pending": `{status: {phase: Pending}}`,
	} {
		var p corev1.Pod
		require.NoError(t, yaml.Unmarshal([]byte(pod), &p))
		assert.Equal(t, want, podProblem(p))
	}
}
