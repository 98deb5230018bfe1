package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// awaitedKinds are the kinds of objects that are not ready immediately.
var awaitedKinds = []string{
	"CustomResourceDefinition.apiextensions.k8s.io", "DaemonSet.apps", "Deployment.apps", "Job.batch", "StatefulSet.apps",
}

// wait waits until live is ready. It calls report with each new state. Its error contains the problems of all pods that
// are not ready.
func (c *cluster) wait(ctx context.Context, live *unstructured.Unstructured,
	report func(state string)) (*unstructured.Unstructured, error) {
	if !slices.Contains(awaitedKinds, live.GroupVersionKind().GroupKind().String()) {
		return live, nil
	}
	begin, last := time.Now(), ""
	for {
		state, err := readiness(live)
		if state == "" {
			return live, err
		}
		state = strings.Join(append([]string{state}, c.podProblems(ctx, live)...), "\n  ")
		if state != last && ctx.Err() == nil {
			report(state)
			last = state
		}
		select {
		case <-ctx.Done():
			after := time.Since(begin).Round(time.Second)
			return live, fmt.Errorf("%s is not ready after %s: %s\n  more: kubectl --namespace=%s describe %s %s",
				id(live), after, last, live.GetNamespace(), strings.ToLower(live.GetKind()), live.GetName())
		case <-time.After(pollInterval):
		}
		if now, err := c.get(ctx, live); err == nil {
			if now == nil {
				return live, fmt.Errorf("%s was deleted by another client before it was ready", id(live))
			}
			live = now
		}
	}
}

// readiness returns the reason why an object is not ready, or "" if it is ready. It returns an error if the object
// cannot become ready.
func readiness(live *unstructured.Unstructured) (string, error) {
	result, err := status.Compute(live)
	if err != nil {
		return "", err
	}
	if live.GetKind() == "Job" {
		// kstatus regards a running job as current. Here, a job is ready when it is complete.
		complete, _ := condition(live, "Complete")
		if result.Status == status.FailedStatus {
			return "", errors.New(result.Message)
		} else if complete {
			return "", nil
		}
		return result.Message, nil
	}
	// A Deployment after its progress deadline can still become ready, so FailedStatus is no error here.
	if result.Status == status.CurrentStatus {
		return "", nil
	}
	return result.Message, nil
}

// condition returns whether the condition of this kind is true, and its message.
func condition(live *unstructured.Unstructured, kind string) (bool, string) {
	list, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
	for _, item := range list {
		if c, ok := item.(map[string]any); ok && c["type"] == kind && c["status"] == "True" {
			return true, fmt.Sprint(c["message"])
		}
	}
	return false, ""
}

// podProblems returns a line for each pod of a workload that is not ready, and a line if pods cannot be created.
func (c *cluster) podProblems(ctx context.Context, live *unstructured.Unstructured) []string {
	var lines []string
	if failed, reason := condition(live, "ReplicaFailure"); failed {
		lines = append(lines, reason)
	}
	labels, _, _ := unstructured.NestedStringMap(live.Object, "spec", "selector", "matchLabels")
	if len(labels) == 0 {
		return lines
	}
	pods, err := c.client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(live.GetNamespace()).
		List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
	if err != nil {
		return lines
	}
	for _, item := range pods.Items {
		var pod corev1.Pod
		if runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod) == nil {
			if problem := podProblem(pod); problem != "" {
				lines = append(lines, pod.Name+": "+problem)
			}
		}
	}
	return lines
}

// podProblem returns the reason why a pod is not ready, or "" if it is ready.
func podProblem(pod corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			return ""
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			return c.Reason + ": " + c.Message
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		state, last := s.State, s.LastTerminationState.Terminated
		switch {
		case s.Ready || state.Terminated != nil && state.Terminated.ExitCode == 0:
			continue
		case state.Waiting != nil && last != nil:
			return fmt.Sprintf("%s on %s: %s: exit code %d: %s", s.Name, pod.Spec.NodeName, state.Waiting.Reason, last.ExitCode,
				last.Message)
		case state.Waiting != nil:
			return fmt.Sprintf("%s on %s: %s: %s", s.Name, pod.Spec.NodeName, state.Waiting.Reason, state.Waiting.Message)
		case state.Terminated != nil:
			return fmt.Sprintf("%s on %s: exit code %d: %s", s.Name, pod.Spec.NodeName, state.Terminated.ExitCode,
				state.Terminated.Message)
		default:
			return fmt.Sprintf("%s on %s is running but not ready", s.Name, pod.Spec.NodeName)
		}
	}
	return strings.TrimSuffix(string(pod.Status.Phase)+": "+pod.Status.Message, ": ")
}
