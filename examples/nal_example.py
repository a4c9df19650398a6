"""A hypothesis about growth goes into the lab, and a report with a verdict comes out.

Run it with ``python examples/nal_example.py``; it takes a minute or two on two cores. The category
supplies experiment, arms and predictions in numbers. Results lie in ``nal_results``: a second call
runs nothing again, ``nal status`` tells how far they are, and ``nal report`` prints them.
"""

from neural_architecture_lab import Hypothesis, HypothesisCategory, LabConfig, NeuralArchitectureLab

lab = NeuralArchitectureLab(LabConfig(max_parallel_experiments=2, results_dir="./nal_results"))
hypothesis = Hypothesis(
    name="extrema_growth_efficiency",
    category=HypothesisCategory.GROWTH_DYNAMICS,
    question="Does extrema-based growth lead to more efficient networks?",
    prediction="Networks grown with extrema detection reach higher accuracy with fewer parameters",
    seeds=5,  # without it, as many as find an effect of one standard deviation: 13
)
lab.register_hypothesis(hypothesis)
result = lab.run_hypothesis_test(hypothesis.id)

print(result)
for insight in lab.extract_insights():
    print(f"{insight.kind}: {insight}")
report = lab.generate_report()
print(report)
print(report.save_html("nal_results/report.html"))
