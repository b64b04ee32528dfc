package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type ser struct {
	l    labels.Labels
	chks []chunks.Meta
}

func main() {
	dir := os.Args[1]
	check(os.MkdirAll(dir, 0o777))
	r := rand.New(rand.NewSource(3))
	stale := math.Float64frombits(value.StaleNaN)
	var all []ser
	t0 := int64(1700000000000)
	name := func(n, v string) labels.Labels { return labels.FromStrings("__name__", n, "case", v) }
	jit := func() int64 { return []int64{0, 0, 0, 1, -2, 700, -700, 100000, 9000000, 40000000000}[r.Intn(10)] }
	add := func(l labels.Labels, cs ...chunkenc.Chunk) {
		s := ser{l: l}
		for _, c := range cs {
			it := c.Iterator(nil)
			var mint, maxt int64 = math.MaxInt64, math.MinInt64
			for it.Next() != chunkenc.ValNone {
				if it.AtT() < mint {
					mint = it.AtT()
				}
				if it.AtT() > maxt {
					maxt = it.AtT()
				}
			}
			s.chks = append(s.chks, chunks.Meta{Chunk: c, MinTime: mint, MaxTime: maxt})
		}
		all = append(all, s)
	}
	floats := func(c chunkenc.Chunk, n int, st func(i int, t int64) int64, withStale bool) chunkenc.Chunk {
		app, err := c.Appender()
		check(err)
		t := t0
		v := 1.0
		for i := 0; i < n; i++ {
			switch r.Intn(5) {
			case 0:
				v = r.NormFloat64()
			case 1:
				v += 1
			case 2:
				v = math.Floor(v)
			}
			x := v
			if withStale && r.Intn(9) == 0 {
				x = stale
			}
			if r.Intn(40) == 0 {
				x = math.Inf(1)
			}
			app.Append(st(i, t), t, x)
			t += 15000
			if j := jit(); j > -15000 {
				t += j
			}
		}
		return c
	}
	none := func(int, int64) int64 { return 0 }
	for k := 0; k < 4; k++ {
		add(name("f_xor", fmt.Sprint(k)), floats(chunkenc.NewXORChunk(), []int{1, 2, 3, 60}[k], none, true))
		add(name("f_xor2", fmt.Sprint(k)), floats(chunkenc.NewXOR2Chunk(), []int{1, 2, 3, 60}[k], none, true))
		add(name("f_xor2_const", fmt.Sprint(k)), floats(chunkenc.NewXOR2Chunk(), []int{1, 2, 3, 60}[k], func(int, int64) int64 { return t0 - 7 }, true))
		add(name("f_xor2_late", fmt.Sprint(k)), floats(chunkenc.NewXOR2Chunk(), []int{1, 2, 30, 60}[k], func(i int, t int64) int64 {
			if i < 1+k*10 {
				return 0
			}
			return t0 + int64(i/5)*100
		}, true))
		add(name("f_xor2_each", fmt.Sprint(k)), floats(chunkenc.NewXOR2Chunk(), []int{1, 2, 3, 60}[k], func(i int, t int64) int64 { return t - 15000 + int64(r.Intn(3)) }, true))
	}
	add(name("f_xor2_after127", "0"), floats(chunkenc.NewXOR2Chunk(), 140, func(i int, t int64) int64 {
		if i < 132 {
			return 0
		}
		return t - 5
	}, false))

	hist := func(i int, schema int32, hint histogram.CounterResetHint) *histogram.Histogram {
		h := &histogram.Histogram{Schema: schema, CounterResetHint: hint, ZeroThreshold: []float64{0, 0.001, 1.0 / 1024, 2.938735877055719e-39, 1024}[(int(schema)+60)%5],
			ZeroCount: uint64(2 + i), Sum: float64(i) * 18.4,
			PositiveSpans:   []histogram.Span{{Offset: -3, Length: 2}, {Offset: 1000, Length: 3}},
			PositiveBuckets: []int64{int64(i + 1), 1, -1, int64(i * 1000), -int64(i * 999)},
			NegativeSpans:   []histogram.Span{{Offset: 5, Length: 1}},
			NegativeBuckets: []int64{int64(i)},
		}
		if schema == -53 {
			h.ZeroThreshold, h.ZeroCount = 0, 0
			h.NegativeSpans, h.NegativeBuckets = nil, nil
			h.PositiveSpans = []histogram.Span{{Offset: 0, Length: 5}}
			h.CustomValues = []float64{0.005, 0.1, 1.0 / 3, 40, 1e9}
		}
		var c uint64 = h.ZeroCount
		var a int64
		for _, d := range h.PositiveBuckets {
			a += d
			c += uint64(a)
		}
		a = 0
		for _, d := range h.NegativeBuckets {
			a += d
			c += uint64(a)
		}
		h.Count = c
		return h
	}
	log(os.Args[2], hist)
	for _, st := range []bool{false, true} {
		for _, fl := range []bool{false, true} {
			for _, schema := range []int32{-4, 0, 3, 8, -53} {
				for _, hint := range []histogram.CounterResetHint{histogram.UnknownCounterReset, histogram.CounterReset, histogram.GaugeType} {
					var c chunkenc.Chunk
					switch {
					case st && fl:
						c = chunkenc.NewFloatHistogramSTChunk()
					case st:
						c = chunkenc.NewHistogramSTChunk()
					case fl:
						c = chunkenc.NewFloatHistogramChunk()
					default:
						c = chunkenc.NewHistogramChunk()
					}
					app, err := c.Appender()
					check(err)
					var cs []chunkenc.Chunk
					t := t0
					for i := 0; i < 5; i++ {
						h := hist(i, schema, hint)
						if i == 4 {
							h = &histogram.Histogram{Sum: stale, CounterResetHint: hint}
						}
						if i > 0 && hint == histogram.CounterReset {
							h.CounterResetHint = histogram.UnknownCounterReset
						}
						s := int64(0)
						if st && i >= (int(schema)+60)%3 {
							s = t0 - 100 + int64(i/3)
						}
						var n chunkenc.Chunk
						var rec bool
						if fl {
							n, rec, app, err = app.AppendFloatHistogram(nil, s, t, h.ToFloat(nil), false)
						} else {
							n, rec, app, err = app.AppendHistogram(nil, s, t, h, false)
						}
						check(err)
						if n != nil {
							if !rec {
								cs = append(cs, c)
							}
							c = n
						}
						t += 15000 + int64(r.Intn(3))
					}
					cs = append(cs, c)
					add(name("h", fmt.Sprint(st, fl, schema, hint)), cs...)
				}
			}
		}
	}
	// Write block.
	sortSeries(all)
	cw, err := chunks.NewWriter(filepath.Join(dir, "chunks"))
	check(err)
	iw, err := index.NewWriter(context.Background(), filepath.Join(dir, "index"))
	check(err)
	syms := map[string]bool{}
	for _, s := range all {
		s.l.Range(func(l labels.Label) { syms[l.Name] = true; syms[l.Value] = true })
	}
	for _, s := range sortedKeys(syms) {
		check(iw.AddSymbol(s))
	}
	stones := tombstones.NewMemTombstones()
	var n uint64
	for i := range all {
		check(cw.WriteChunks(all[i].chks...))
		check(iw.AddSeries(storage.SeriesRef(i), all[i].l, all[i].chks...))
		for _, c := range all[i].chks {
			n += uint64(c.Chunk.NumSamples())
		}
	}
	check(cw.Close())
	check(iw.Close())
	ir, err := index.NewFileReader(filepath.Join(dir, "index"), index.DecodePostingsRaw)
	check(err)
	ps, err := ir.Postings(context.Background(), "", "")
	check(err)
	deleted := map[int]tombstones.Interval{}
	for i := 0; ps.Next(); i++ {
		switch {
		case all[i].l.Get("__name__") == "f_xor" && all[i].l.Get("case") == "3":
			deleted[i] = tombstones.Interval{Mint: t0 + 60000, Maxt: t0 + 400000}
		case all[i].l.Get("case") == "true true 3 2":
			deleted[i] = tombstones.Interval{Mint: t0, Maxt: t0 + 20000}
		case all[i].l.Get("case") == "false false 3 2":
			deleted[i] = tombstones.Interval{Mint: 0, Maxt: math.MaxInt64}
		default:
			continue
		}
		stones.AddInterval(ps.At(), deleted[i])
	}
	_, err = tombstones.WriteFile(quiet(), dir, stones)
	check(err)
	m := map[string]any{"ulid": filepath.Base(dir), "minTime": t0, "maxTime": t0 + 86400000*2000, "version": 1, "stats": map[string]any{"numSamples": n, "numSeries": len(all)}}
	b, _ := json.Marshal(m)
	check(os.WriteFile(filepath.Join(dir, "meta.json"), b, 0o666))
	// Expected.
	for i, s := range all {
		name := s.l.Get("__name__") + "/" + strings.ReplaceAll(s.l.Get("case"), " ", ",")
		for _, c := range s.chks {
			it := c.Chunk.Iterator(nil)
			for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
				if d, ok := deleted[i]; ok && it.AtT() >= d.Mint && it.AtT() <= d.Maxt {
					continue
				}
				fmt.Printf("%s %d %d ", name, it.AtT()-t0, it.AtST())
				switch vt {
				case chunkenc.ValFloat:
					_, v := it.At()
					fmt.Printf("%x\n", math.Float64bits(v))
				case chunkenc.ValHistogram:
					_, h := it.AtHistogram(nil)
					fmt.Printf("i %d %d %x %d %x %d +%s%v -%s%v %s\n", h.Count, h.ZeroCount, math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold), h.CounterResetHint, sp(h.PositiveSpans), h.PositiveBuckets, sp(h.NegativeSpans), h.NegativeBuckets, fs(h.CustomValues))
				case chunkenc.ValFloatHistogram:
					_, h := it.AtFloatHistogram(nil)
					fmt.Printf("f %x %x %x %d %x %d +%s%s -%s%s %s\n", math.Float64bits(h.Count), math.Float64bits(h.ZeroCount), math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold), h.CounterResetHint, sp(h.PositiveSpans), fs(h.PositiveBuckets), sp(h.NegativeSpans), fs(h.NegativeBuckets), fs(h.CustomValues))
				}
			}
		}
	}
}
