package earlyexit

import "math"

const (
	alarmBins = 16
	alarmLow  = -3.0 // log-odds
	alarmStep = 1.0

	alarmNow   = 40.0   // rows that "now" is made of
	alarmUsual = 2000.0 // rows that "usual" is made of
	alarmLeast = 200.0  // rows of "usual" without which nothing is judged
	alarmCorr  = 300.0  // rows over which correlation is measured
)

// alarm notices, without labels, that a ramp's confidences are no longer
// distributed as usual. It bets on the bin of each next one, at the odds of
// the usual distribution, with the distribution of the last rows; the capital
// starts anew whenever it falls below 1 (CUSUM, Page 1954), and an alarm is
// raised when it reaches a threshold. As the bets have mean 1 while nothing
// changes, the mean number of rows between false alarms is at least that
// threshold (Lorden, Annals of Mathematical Statistics 42, 1971), but for what
// the usual distribution is off.
//
// Rows that follow each other in a video are alike, which is no change: only
// every so many rows is bet on, by the correlation of one with the next.
type alarm struct {
	usual, now [alarmBins]float64 // rows, old ones forgotten
	usualN     float64
	capital    float64 // logarithm

	last, mean, square, product float64 // of the confidence; square and product about the mean
	skip                        float64 // rows until the next bet
}

// correlation is that of a row's confidence with the next one's; 0 where it
// could be chance.
func (l *alarm) correlation() float64 {
	if c := l.product / max(l.square, 1e-9); c > 0.15 {
		return c
	}
	return 0
}

// learn takes in a confidence as log-odds and reports an alarm.
func (l *alarm) learn(odds, rows float64) bool {
	d := odds - l.mean
	l.mean += d / alarmCorr
	l.square += (d*d - l.square) / alarmCorr
	l.product += (d*(l.last-l.mean) - l.product) / alarmCorr
	l.last = odds
	if l.skip--; l.skip > 0 {
		return false
	}
	if corr := l.correlation(); corr > 0 {
		l.skip = math.Round(min(100, (1+corr)/(1-min(corr, 0.99))))
	}
	b := max(0, min(alarmBins-1, int((odds-alarmLow)/alarmStep)))
	raised := false
	if l.usualN >= alarmLeast {
		n := 0.0
		for _, v := range l.now {
			n += v
		}
		usual := (l.usual[b] + 0.5) / (l.usualN + 0.5*alarmBins)
		now := (l.now[b] + 10*usual) / (n + 10)
		l.capital = max(0, l.capital+math.Log(0.5+0.5*now/usual))
		raised = l.capital > math.Log(rows)
	}
	for i := range l.now {
		l.now[i] *= 1 - 1/alarmNow
		l.usual[i] *= 1 - 1/alarmUsual
	}
	l.now[b]++
	l.usual[b]++
	l.usualN = l.usualN*(1-1/alarmUsual) + 1
	if raised {
		l.usual, l.usualN, l.capital = l.now, 0, 0
		for _, v := range l.usual {
			l.usualN += v
		}
	}
	return raised
}
