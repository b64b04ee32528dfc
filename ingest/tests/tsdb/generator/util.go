package main

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
func sortSeries(a []ser) {
	slices.SortFunc(a, func(x, y ser) int { return labels.Compare(x.l, y.l) })
}
func sortedKeys(m map[string]bool) []string {
	var k []string
	for s := range m {
		k = append(k, s)
	}
	slices.Sort(k)
	return k
}
func fs(f []float64) string {
	p := []string{}
	for _, x := range f {
		p = append(p, fmt.Sprintf("%x", math.Float64bits(x)))
	}
	return "[" + strings.Join(p, " ") + "]"
}
func sp(s []histogram.Span) string {
	p := []string{}
	for _, x := range s {
		p = append(p, fmt.Sprintf("%d:%d", x.Offset, x.Length))
	}
	return "[" + strings.Join(p, " ") + "]"
}
