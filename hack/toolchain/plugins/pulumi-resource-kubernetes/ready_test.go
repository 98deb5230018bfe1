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
	for name, test := range map[string]struct{ object, waits, fails string }{
		"not seen yet": {
			object: deployment +
				`{observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}`,
			waits: "Deployment generation is 2, but latest observed generation is 1",
		},
		"one of two": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}`,
			waits: "Available: 1/2",
		},
		"past its deadline it is tried on": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, conditions: [{type: Progressing, status: "False", reason: ` +
				`ProgressDeadlineExceeded}]}`,
			waits: "Progress deadline exceeded",
		},
		"ready": {
			object: deployment +
				`{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: ` +
				`[{type: Available, status: "True"}]}`,
		},
		"a daemon set": {
			object: `{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, ` +
				`desiredNumberScheduled: 3, currentNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2, ` +
				`numberReady: 3}}`,
			waits: "Available: 2/3",
		},
		"a job that runs": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", active: 1}}`,
			waits:  "Job in progress. success:0, active: 1, failed: 0",
		},
		"a job that is done": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", succeeded: 1, conditions: ` +
				`[{type: Complete, status: "True"}]}}`,
		},
		"a job that failed": {
			object: `{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-01T00:00:00Z", failed: 1, conditions: ` +
				`[{type: Failed, status: "True"}]}}`,
			fails: "Job Failed. failed: 1/1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			waits, err := readiness(parse(t, test.object))
			assert.Equal(t, test.waits, waits)
			if test.fails == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.fails)
			}
		})
	}
}

func TestTrouble(t *testing.T) {
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
		"dns on n1 runs, and is not ready": `{spec: {nodeName: n1}, status: {initContainerStatuses: [
			{name: init, state: {terminated: {exitCode: 0}}}], containerStatuses: [{name: dns, state: {running: {}}}]}}`,
		"init on n1: exit code 1: no": `{spec: {nodeName: n1}, status: {initContainerStatuses: [{name: init, state: ` +
			`{terminated: {exitCode: 1, message: "no"}}}]}}`,
		"Pending": `{status: {phase: Pending}}`,
	} {
		var p corev1.Pod
		require.NoError(t, yaml.Unmarshal([]byte(pod), &p))
		assert.Equal(t, want, trouble(p))
	}
}
