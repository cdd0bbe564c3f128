"""What is measured of a backtest (docs/backtest-report.md): functions of its fills, orders and best quotes alone."""
