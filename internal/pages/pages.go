// Package pages collects the items of OpenStack's paginated lists.
package pages

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/pagination"
)

// Collect returns the items of all pages, converted by as. It leaves out items for which keep is false.
func Collect[T, U any](
	ctx context.Context, pager pagination.Pager, extract func(pagination.Page) ([]T, error), as func(T) (u U, keep bool),
) ([]U, error) {
	pages, err := pager.AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := extract(pages)
	if err != nil {
		return nil, err
	}
	var out []U
	for _, t := range all {
		if u, keep := as(t); keep {
			out = append(out, u)
		}
	}
	return out, nil
}
