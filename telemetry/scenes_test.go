package telemetry_test

import "time"

// never is when the alert of a harmless scene fires.
const never time.Duration = -1

// scene is what the metrics of a node are in the course of time, a reading a minute,
// and when the alert has to fire.
type scene struct {
	series string
	fires  time.Duration
}

// scenes are those of each alert, by what happens.
func scenes() map[string]map[string]scene {
	return map[string]map[string]scene{
		"TandemDown": {
			"gone for good": {`up 1x5 0x10`, 7 * time.Minute},
			"restarted":     {`up 1x5 0 1x10`, never},
		},
		"TandemHeadStalled": {
			"stalls": {`
				tandem_lag_blocks                  0x9     1+1x20
				tandem_head_height{head="applied"} 1+1x9  10x20`, 14 * time.Minute},
			"never applied a block": {`
				tandem_lag_blocks                  0 7x20
				tandem_head_height{head="applied"} 0x20`, 4 * time.Minute},
			"was rolled back, then stalls": {`
				tandem_lag_blocks                  0x9     3+1x20
				tandem_head_height{head="applied"} 1+1x9   8x20`, 15 * time.Minute},
			"follows, always one behind": {`
				tandem_lag_blocks                  1x30
				tandem_head_height{head="applied"} 0+60x30`, never},
			"catches up": {`
				tandem_lag_blocks                  100000-500x30
				tandem_head_height{head="applied"} 0+500x30`, never},
			"replays for long": {`
				tandem_replay_blocks               3000-100x30
				tandem_lag_blocks                  0+1x30
				tandem_head_height{head="applied"} 3000x30`, never},
			"replayed, then stalls": {`
				tandem_replay_blocks               400-100x4 0x20
				tandem_lag_blocks                  1+1x24
				tandem_head_height{head="applied"} 400x24`, 7 * time.Minute},
			"no blocks are made": {`
				tandem_lag_blocks                  0x30
				tandem_head_height{head="applied"} 9x30`, never},
			"an hour without blocks, then one": {`
				tandem_lag_blocks                  0x60 1 0x30
				tandem_head_height{head="applied"} 9x61 10x30`, never},
		},
		"TandemLagGrows": {
			"too slow":   {`tandem_lag_blocks 0x5 12+4x60`, 17 * time.Minute},
			"catches up": {`tandem_lag_blocks 0x2 100000-500x60`, never},
			"jitters":    {`tandem_lag_blocks 0 9 3 14 2 9 11 4 0 12 1 15 7 2 13 4 14 2 9 11 4 0 12 1 15 7 2 13`, never},
			"one outage": {`tandem_lag_blocks 0x5 60 120 180 120 60 0x30`, never},
		},
		"TandemFinalStalled": {
			"DA has none of the new blocks": {`
				tandem_final_lag_blocks          0x10    1+1x80
				tandem_head_height{head="final"} 1+1x10 11x80`, 39 * time.Minute},
			"DA has none at all": {`
				tandem_final_lag_blocks          1+1x80
				tandem_head_height{head="final"} 0x80`, 15 * time.Minute},
			"final a little later": {`
				tandem_final_lag_blocks          9x80
				tandem_head_height{head="final"} 0+60x80`, never},
			"no blocks are made": {`
				tandem_final_lag_blocks          0x80
				tandem_head_height{head="final"} 9x80`, never},
			"without DA": {`
				tandem_head_height{head="applied"} 0+60x80
				tandem_head_height{head="final"}   0x80`, never},
		},
		"TandemConflict": {
			"a second header on DA":    {`tandem_conflicts_total{kind="header",source="da"} 0x5 1x20`, 6 * time.Minute},
			"second data from peers":   {`tandem_conflicts_total{kind="data",source="p2p"} 3x5 4x20`, 6 * time.Minute},
			"rolled back":              {`tandem_reverts_total 0x5 1x20`, 6 * time.Minute},
			"none":                     {`tandem_conflicts_total{kind="header",source="da"} 0x30`, never},
			"long ago":                 {`tandem_conflicts_total{kind="header",source="da"} 1x30`, never},
			"long ago, then restarted": {`tandem_conflicts_total{kind="header",source="da"} 2x9 0x30`, never},
		},
		"TandemCensored": {
			"one left out": {`tandem_censored_txs_total 0x5 1x20`, 6 * time.Minute},
			"none":         {`tandem_censored_txs_total 0x30`, never},
			"long ago":     {`tandem_censored_txs_total 7x30`, never},
		},
		"TandemDAErrors": {
			"DA is gone":          {`tandem_da_retries_total 0x5 10+10x30`, 16 * time.Minute},
			"gone from the start": {`tandem_da_retries_total 4+10x30`, 11 * time.Minute},
			"no submission is taken": {`
				tandem_da_calls_total{method="submit",outcome="failed"}   0x5  10+10x30
				tandem_da_calls_total{method="submit",outcome="answered"} 10+10x5 60x30`, 19 * time.Minute},
			"one of two endpoints takes none": {`
				tandem_da_calls_total{method="submit",outcome="failed"}   0x5  10+10x30
				tandem_da_calls_total{method="submit",outcome="answered"} 10+10x36`, never},
			"one blip of many reads":     {`tandem_da_retries_total 0x5 128x30`, never},
			"one failure now and then":   {`tandem_da_retries_total 0x5 1x5 2x5 3x5 4x5 5x5`, never},
			"no failure since the start": {`tandem_da_retries_total 0x30`, never},
		},
		"TandemUnposted": {
			"none gets there":                {`tandem_da_unposted_blocks{kind="header"} 0+60x40`, 22 * time.Minute},
			"production paused at its bound": {`tandem_da_unposted_blocks{kind="data"} 0+500x4 2000x40`, 8 * time.Minute},
			"posts what piled up":            {`tandem_da_unposted_blocks{kind="header"} 9000-100x80`, never},
			"posts every minute":             {`tandem_da_unposted_blocks{kind="header"} 6 9 5 8 6 9 4 8 6 9 5`, never},
		},
		"TandemNotProducing": {
			"the executor fails": {`
				tandem_ready                 1x5 0x20
				tandem_produced_blocks_total 0+60x5 300x20`, 8 * time.Minute},
			"produces": {`
				tandem_ready                 0 1x20
				tandem_produced_blocks_total 0+60x20`, never},
			"a follower is behind": {`tandem_ready 0x20`, never},
		},
		"TandemProblemNow": {
			"the disk is full":          {`tandem_problem{kind="disk"} 0x5 1x20`, 7 * time.Minute},
			"the node is started again": {`tandem_problem{kind="disk"} 0x5 1 0x20`, never},
		},
		"TandemProblemTicket": {
			"a peer has another key": {`tandem_problem{kind="peer_key"} 0x5 1x20`, 21 * time.Minute},
			"corrected in time":      {`tandem_problem{kind="peer_key"} 0x5 1x10 0x20`, never},
		},
		"TandemProblem": {
			"the clock jumped and stays wrong": {`tandem_problem{kind="clock"} 0x5 1x20`, 11 * time.Minute},
			"one that passes":                  {`tandem_problem{kind="finality"} 0x5 1x3 0x20`, never},
			"none":                             {`tandem_problem{kind="clock"} 0x30`, never},
		},
		"TandemNotReady": {
			"the genesis file is another's": {`
				tandem_ready                       0x60
				tandem_head_height{head="applied"} 0x60`, 15 * time.Minute},
			"all sources are gone": {`
				tandem_ready                       1x5    0x60
				tandem_head_height{head="applied"} 0+60x5 300x60`, 29 * time.Minute},
			"catches up for an hour": {`
				tandem_ready                       0x60 1x9
				tandem_head_height{head="applied"} 0+500x69`, never},
			"no blocks are made": {`
				tandem_ready                       1x60
				tandem_head_height{head="applied"} 9x60`, never},
		},
		"TandemDeadLoop": {
			"hangs":                  {`tandem_live 1x5 0x10`, 7 * time.Minute},
			"one block takes longer": {`tandem_live 1x20`, never},
		},
		"TandemIsolated": {
			"no peer is left":         {`tandem_chain_peers 3x5 0x20`, 11 * time.Minute},
			"never had a peer":        {`tandem_chain_peers 0x20`, 5 * time.Minute},
			"finds new ones":          {`tandem_chain_peers 3x5 0x3 1x20`, never},
			"without peers by choice": {`tandem_lag_blocks 0x20`, never},
		},
		"TandemQueueFull": {
			"the mempool": {`
				tandem_held_bytes{part="mempool"}       95x20
				tandem_held_limit_bytes{part="mempool"} 100x20`, 10 * time.Minute},
			"half full": {`
				tandem_held_bytes{part="mempool"}       50x20
				tandem_held_limit_bytes{part="mempool"} 100x20`, never},
			"caches, and what a catch-up reads ahead": {`
				tandem_held_bytes{part="store_data"}                 100x20
				tandem_held_limit_bytes{part="store_data"}           100x20
				tandem_held_bytes{part="da_prefetch"}                100x20
				tandem_held_limit_bytes{part="da_prefetch"}          100x20
				tandem_held_bytes{part="exchange_data_queue"}        100x20
				tandem_held_limit_bytes{part="exchange_data_queue"}  100x20
				tandem_held_bytes{part="exchange_data_parked"}       100x20
				tandem_held_limit_bytes{part="exchange_data_parked"} 100x20`, never},
			"a part without a bound": {`tandem_held_bytes{part="forced"} 100x20`, never},
		},
	}
}
