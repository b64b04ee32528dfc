package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// log writes a log with a checkpoint, all kinds of records, and all ways of compression.
func log(dir string, hist func(i int, schema int32, hint histogram.CounterResetHint) *histogram.Histogram) {
	check(os.MkdirAll(dir, 0o777))
	t0 := int64(1700000000000)
	out, err := os.Create(filepath.Join(filepath.Dir(dir), "wal.txt"))
	check(err)
	defer out.Close()
	write := func(dir string, c compression.Type, recs ...[]byte) {
		w, err := wlog.NewSize(quiet(), nil, dir, 8*32*1024, c)
		check(err)
		for _, r := range recs {
			check(w.Log(r))
		}
		check(w.Close())
	}
	ref := func(i int) chunks.HeadSeriesRef { return chunks.HeadSeriesRef(i) }
	v1, v2 := record.Encoder{}, record.Encoder{EnableSTStorage: true}
	samples := func(n int, st func(i int) int64) []record.RefSample {
		var s []record.RefSample
		for i := 0; i < n; i++ {
			v := float64(i) * 0.5
			if i%11 == 5 {
				v = math.Float64frombits(value.StaleNaN)
			}
			x := record.RefSample{Ref: ref(7 + (i*3)%5), T: t0 + int64(i/5)*15000 - int64(i%3), V: v, ST: st(i)}
			s = append(s, x)
			fmt.Fprintf(out, "%d %d %d %x\n", x.Ref, x.T-t0, x.ST, math.Float64bits(x.V))
		}
		return s
	}
	ints := func(n int, schema int32, st func(i int) int64) []record.RefHistogramSample {
		var s []record.RefHistogramSample
		for i := 0; i < n; i++ {
			h := hist(i, schema, histogram.CounterResetHint(i%4))
			if i == 3 {
				h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
			}
			x := record.RefHistogramSample{Ref: ref(9 - i), T: t0 + int64(i)*1000, H: h, ST: st(i)}
			s = append(s, x)
			fmt.Fprintf(out, "%d %d %d i %d %d %x %d %x %d +%s%v -%s%v %s\n", x.Ref, x.T-t0, x.ST, h.Count, h.ZeroCount, math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold), h.CounterResetHint, sp(h.PositiveSpans), h.PositiveBuckets, sp(h.NegativeSpans), h.NegativeBuckets, fs(h.CustomValues))
		}
		return s
	}
	floats := func(schema int32, st func(i int) int64) []record.RefFloatHistogramSample {
		var s []record.RefFloatHistogramSample
		for i := 0; i < 4; i++ {
			h := hist(i, schema, histogram.CounterResetHint(i%4)).ToFloat(nil)
			x := record.RefFloatHistogramSample{Ref: ref(5 + i), T: t0 - int64(i)*1000, FH: h, ST: st(i)}
			s = append(s, x)
			fmt.Fprintf(out, "%d %d %d f %x %x %x %d %x %d +%s%s -%s%s %s\n", x.Ref, x.T-t0, x.ST, math.Float64bits(h.Count), math.Float64bits(h.ZeroCount), math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold), h.CounterResetHint, sp(h.PositiveSpans), fs(h.PositiveBuckets), sp(h.NegativeSpans), fs(h.NegativeBuckets), fs(h.CustomValues))
		}
		return s
	}
	none := func(int) int64 { return 0 }
	some := func(i int) int64 { return []int64{t0 - 5, t0 - 5, 0, t0 - 9, t0 - 9}[i%5] }
	series := func(from, to int) []record.RefSeries {
		var s []record.RefSeries
		for i := from; i < to; i++ {
			s = append(s, record.RefSeries{Ref: ref(i), Labels: labels.FromStrings("__name__", "logged", "number", strings.Repeat("é", i))})
			fmt.Fprintf(out, "series %d %d\n", i, i)
		}
		return s
	}
	stone := []tombstones.Stone{{Ref: storage.SeriesRef(8), Intervals: tombstones.Intervals{{Mint: -4, Maxt: t0}}}}
	exemplar := []record.RefExemplar{{Ref: 7, T: t0, V: 1, Labels: labels.FromStrings("trace", "x")}}
	metadata := []record.RefMetadata{{Ref: 7, Type: 1, Unit: "u", Help: "h"}}
	// Both are older than the checkpoint.
	told := out
	out, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	check(err)
	write(dir, compression.None, v1.Series(series(100, 102), nil))
	write(dir, compression.None, v1.Series(series(100, 102), nil))
	out = told
	write(filepath.Join(dir, "checkpoint.00000001"), compression.Snappy, v1.Series(series(5, 8), nil), v1.Samples(samples(40, none), nil), v1.MinValidTime(t0, nil))
	write(dir, compression.None, v1.Series(series(8, 12), nil), v1.Samples(samples(4000, none), nil), v1.Exemplars(exemplar, nil), v1.Metadata(metadata, nil))
	fmt.Fprintf(out, "deleted 8 -4 %d\n", t0)
	var recs [][]byte
	recs = append(recs, v1.Tombstones(stone, nil))
	for _, e := range []record.Encoder{v1, v2} {
		st := none
		if e.EnableSTStorage {
			st = some
		}
		recs = append(recs, e.Samples(samples(30, st), nil))
		r, _ := e.HistogramSamples(ints(4, 3, st), nil)
		recs = append(recs, r)
		r, _ = e.FloatHistogramSamples(floats(0, st), nil)
		recs = append(recs, r)
	}
	recs = append(recs, v1.CustomBucketsHistogramSamples(ints(3, -53, none), nil), v1.CustomBucketsFloatHistogramSamples(floats(-53, none), nil))
	write(dir, compression.Zstd, recs...)
}
